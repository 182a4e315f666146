/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Accesses: software users of an IOAS, as the test ABI makes them (spec iommufd-core 4.5, 4.6, rows K01 to K13;
 * selftest-abi 3.6 to 3.10, 7).
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>

#include "test_abi.h"

static uint64_t alignment_of(int iommufd, uint32_t ioas) {
  uint64_t alignment = 0;
  uint32_t n = 0;
  iova_ranges(iommufd, ioas, NULL, &n, &alignment);
  return alignment;
}

static int map_flags(int iommufd, uint32_t ioas, uint32_t flags, const void* va, uint64_t length, uint64_t iova) {
  return map_full(iommufd, ioas, flags | FIXED, (uintptr_t)va, length, &iova);
}

/* An IOAS, an access that pins, and memory that is not mapped yet. */
struct pinning {
  int fd;
  uint32_t ioas;
  uint8_t* memory;
  int access;
};

static struct pinning with_access(size_t bytes) {
  struct pinning p = {.fd = open_test_iommufd(), .memory = pages(bytes)};
  p.ioas = ioas_alloc(p.fd);
  p.access = create_access(p.fd, p.ioas, NEEDS_PIN);
  return p;
}

SECTION("iommufd-core 4.5");

TEST(K01, "an access that does not pin leaves the alignment") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  create_access(fd, ioas, 0);
  CHECK_EQ(alignment_of(fd, ioas), 1);
}

TEST(K02, "one that pins raises it to a page, until it is closed") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  const int access = create_access(fd, ioas, NEEDS_PIN), other = create_access(fd, ioas, NEEDS_PIN);
  CHECK_EQ(alignment_of(fd, ioas), PAGE);
  close_kept(access);
  CHECK_EQ(alignment_of(fd, ioas), PAGE);
  close_kept(other);
  CHECK_EQ(alignment_of(fd, ioas), 1);
}

TEST(K03, "it cannot attach over a misaligned mapping: EADDRINUSE") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd), other = ioas_alloc(fd);
  const int access = create_access(fd, other, NEEDS_PIN);
  REQUIRE(CHECK_OK(map_fixed(fd, ioas, pages(PAGE), 100, 0x10000)));
  CHECK_ERR(create_access_full(fd, ioas, NEEDS_PIN), EADDRINUSE);
  CHECK_EQ(alignment_of(fd, ioas), 1);
  create_access(fd, ioas, 0);
  CHECK_ERR(access_replace(fd, access, ioas), EADDRINUSE); /* and keeps the old one */
  CHECK_EQ(alignment_of(fd, other), PAGE);
}

SECTION("iommufd-core 4.6");

TEST_ROWS(K03b, "D22",
          "create: unknown flags EOPNOTSUPP, no IOAS ENOENT; the object takes an id and cannot be destroyed") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  int access;
  CHECK_ERR(create_access_full(fd, ioas, 2), EOPNOTSUPP);
  CHECK_ERR(create_access_full(fd, 77, 0), ENOENT);
  access = create_access(fd, ioas, 0);
  CHECK_EQ(fcntl(access, F_GETFD), FD_CLOEXEC);
  CHECK_EQ(ioas_alloc(fd), ioas + 2);
  CHECK_ERR(destroy(fd, ioas + 1), EBUSY);
  CHECK_ERR(destroy(fd, ioas), EBUSY); /* an attached access uses it */
  close_kept(access);
  CHECK_ERR(destroy(fd, ioas + 1), ENOENT);
  CHECK_OK(destroy(fd, ioas));
}

TEST(K04,
     "pin: length 0 EINVAL, wrap EOVERFLOW, hole ENOENT; over 16 MiB ENOMEM; unknown flags EOPNOTSUPP; no access "
     "EBADFD") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  const int access = create_access(fd, ioas, NEEDS_PIN), plain = create_access(fd, ioas, 0);
  CHECK_ERR(access_pin(fd, access, 0, 0, NULL, 0, NULL), EINVAL);
  CHECK_ERR(access_pin(fd, access, MAX - PAGE + 1, 2 * PAGE, NULL, 0, NULL), EOVERFLOW);
  CHECK_ERR(access_pin(fd, access, 0x10000, PAGE, NULL, 0, NULL), ENOENT);
  CHECK_ERR(access_pin(fd, access, 0, (16u << 20) + 1, NULL, 0, NULL), ENOMEM);
  CHECK_ERR(access_pin(fd, access, 0, PAGE, NULL, 2, NULL), EOPNOTSUPP);
  CHECK_ERR(access_pin(fd, fd, 0, PAGE, NULL, 0, NULL), EBADFD);
  CHECK_ERR(access_pin(fd, 999999, 0, PAGE, NULL, 0, NULL), EBADFD);
  CHECK_ERR(access_pin(fd, plain, 0, PAGE, NULL, 0, NULL), EOPNOTSUPP);
  CHECK_ERR(access_unpin(fd, fd, 0), EBADFD);
  CHECK_ERR(access_unpin(fd, access, 0), ENOENT);
}

TEST(K05, "pin must begin at a page, and cross mappings at pages: EINVAL") {
  const struct pinning p = with_access(4 * PAGE);
  uint32_t item;
  REQUIRE(CHECK_OK(map_fixed(p.fd, p.ioas, p.memory, 4 * PAGE, 0x10000)));
  CHECK_ERR(access_pin(p.fd, p.access, 0x10001, PAGE, NULL, 0, NULL), EINVAL);
  CHECK_ERR(access_pin(p.fd, p.access, 0x10800, PAGE, NULL, 0, NULL), EINVAL);
  CHECK_OK(access_pin(p.fd, p.access, 0x11000, 1, NULL, 0, &item)); /* the end need not be one */
  CHECK_OK(check_refs(p.fd, p.memory + PAGE, PAGE, 1));
  CHECK_OK(access_unpin(p.fd, p.access, item));
  CHECK_OK(check_refs(p.fd, p.memory, 4 * PAGE, 0));
}

TEST(K06, "pin for writing what is readable, for reading what is writable: EPERM") {
  const struct pinning p = with_access(2 * PAGE);
  REQUIRE(CHECK_OK(map_flags(p.fd, p.ioas, IOMMU_IOAS_MAP_READABLE, p.memory, PAGE, 0x10000)));
  REQUIRE(CHECK_OK(map_flags(p.fd, p.ioas, IOMMU_IOAS_MAP_WRITEABLE, p.memory, PAGE, 0x20000)));
  CHECK_ERR(access_pin(p.fd, p.access, 0x10000, PAGE, NULL, TEST_WRITE, NULL), EPERM);
  CHECK_OK(access_pin(p.fd, p.access, 0x10000, PAGE, NULL, 0, NULL));
  CHECK_ERR(access_pin(p.fd, p.access, 0x20000, PAGE, NULL, 0, NULL), EPERM);
  CHECK_OK(access_pin(p.fd, p.access, 0x20000, PAGE, NULL, TEST_WRITE, NULL));
  CHECK_OK(check_refs(p.fd, p.memory, PAGE, 2)); /* two mappings are two objects */
}

TEST(K07, "pin across mappings, a later one without permission or missing: nothing stays pinned") {
  const struct pinning p = with_access(4 * PAGE);
  REQUIRE(CHECK_OK(map_fixed(p.fd, p.ioas, p.memory, PAGE, 0x10000)));
  REQUIRE(CHECK_OK(map_flags(p.fd, p.ioas, IOMMU_IOAS_MAP_READABLE, p.memory + PAGE, PAGE, 0x11000)));
  CHECK_ERR(access_pin(p.fd, p.access, 0x10000, 2 * PAGE, NULL, TEST_WRITE, NULL), EPERM);
  CHECK_OK(check_refs(p.fd, p.memory, 4 * PAGE, 0));
  CHECK_ERR(access_pin(p.fd, p.access, 0x10000, 3 * PAGE, NULL, 0, NULL), ENOENT);
  CHECK_OK(check_refs(p.fd, p.memory, 4 * PAGE, 0));
  CHECK_OK(access_pin(p.fd, p.access, 0x10000, 2 * PAGE, p.memory, 0, NULL));
  CHECK_OK(check_refs(p.fd, p.memory, 2 * PAGE, 1));
  CHECK_OK(unmap(p.fd, p.ioas, 0x10000, 2 * PAGE));
  CHECK_OK(check_refs(p.fd, p.memory, 4 * PAGE, 0));
}

TEST(K07b, "pin of memory that is not there: EFAULT; another page than the caller says: EBADE") {
  const struct pinning p = with_access(2 * PAGE);
  REQUIRE(CHECK_OK(map_fixed(p.fd, p.ioas, no_page(), PAGE, 0x10000)));
  REQUIRE(CHECK_OK(map_fixed(p.fd, p.ioas, p.memory, 2 * PAGE, 0x20000)));
  CHECK_ERR(access_pin(p.fd, p.access, 0x10000, PAGE, NULL, 0, NULL), EFAULT);
  CHECK_ERR(access_pin(p.fd, p.access, 0x20000, PAGE, p.memory + PAGE, 0, NULL), EBADE);
  CHECK_OK(check_refs(p.fd, p.memory, 2 * PAGE, 0));
  CHECK_OK(access_pin(p.fd, p.access, 0x20000, 2 * PAGE, p.memory, 0, NULL));
}

TEST(K08, "rw across adjacent mappings, at any byte") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  uint8_t *memory = pages(2 * PAGE), buf[200], back[200];
  const int access = create_access(fd, ioas, 0);
  REQUIRE(CHECK_OK(map_fixed(fd, ioas, memory + PAGE, PAGE, 0x10000)));
  REQUIRE(CHECK_OK(map_fixed(fd, ioas, memory, PAGE, 0x11000)));
  for (unsigned i = 0; i < sizeof(buf); i++) buf[i] = (uint8_t)(i + 1);
  for (unsigned flags = 0; flags <= TEST_SLOW; flags += TEST_SLOW) {
    memset(memory, 0, 2 * PAGE);
    memset(back, 0, sizeof(back));
    CHECK_OK(access_rw(fd, access, 0x11000 - 77, buf, sizeof(buf), flags | TEST_WRITE));
    CHECK(memcmp(memory + 2 * PAGE - 77, buf, 77) == 0 && memcmp(memory, buf + 77, sizeof(buf) - 77) == 0);
    CHECK_OK(access_rw(fd, access, 0x11000 - 77, back, sizeof(back), flags));
    CHECK(memcmp(buf, back, sizeof(buf)) == 0);
  }
}

TEST(K09, "rw into a hole after a mapping: ENOENT, and the first part was written") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  uint8_t *memory = pages(PAGE), buf[16];
  const int access = create_access(fd, ioas, 0);
  memset(buf, 0xab, sizeof(buf));
  REQUIRE(CHECK_OK(map_fixed(fd, ioas, memory, PAGE, 0x10000)));
  CHECK_ERR(access_rw(fd, access, 0x11000 - 8, buf, 16, TEST_WRITE), ENOENT);
  CHECK_EQ(memory[PAGE - 1], 0xab);
  CHECK_EQ(memory[PAGE - 9], 0);
  CHECK_ERR(access_rw(fd, access, 0x11000, buf, 1, 0), ENOENT);
}

TEST(K09b,
     "rw: length 0 EINVAL, wrap EOVERFLOW, over 16 MiB ENOMEM, unknown flags EOPNOTSUPP, no access EBADFD, permissions "
     "EPERM, pointer EFAULT") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  uint8_t *memory = pages(PAGE), buf[16] = {0};
  const int access = create_access(fd, ioas, NEEDS_PIN); /* works with both kinds */
  REQUIRE(CHECK_OK(map_flags(fd, ioas, IOMMU_IOAS_MAP_READABLE, memory, PAGE, 0x10000)));
  REQUIRE(CHECK_OK(map_flags(fd, ioas, IOMMU_IOAS_MAP_WRITEABLE, memory, PAGE, 0x20000)));
  CHECK_ERR(access_rw(fd, access, 0x10000, buf, 0, 0), EINVAL);
  CHECK_ERR(access_rw(fd, access, MAX, buf, 2, 0), EOVERFLOW);
  CHECK_ERR(access_rw(fd, access, 0x10000, buf, (16u << 20) + 1, 0), ENOMEM);
  CHECK_ERR(access_rw(fd, access, 0x10000, buf, 1, 2), EOPNOTSUPP);
  CHECK_ERR(access_rw(fd, fd, 0x10000, buf, 1, 0), EBADFD);
  CHECK_ERR(access_rw(fd, access, 0x10000, buf, 1, TEST_WRITE), EPERM);
  CHECK_ERR(access_rw(fd, access, 0x20000, buf, 1, 0), EPERM);
  CHECK_ERR(access_rw(fd, access, 0x10000, no_page(), 1, 0), EFAULT);
  CHECK_ERR(access_rw(fd, access, 0x20000, no_page(), 1, TEST_WRITE), EFAULT);
  CHECK_OK(access_rw(fd, access, 0x10000, buf, 1, 0));
}

TEST(K10, "rw and pin of a buffer of a device: EINVAL") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  const int access = create_access(fd, ioas, NEEDS_PIN);
  const int buffer = keep(word_op(fd, OP_DMABUF_GET, 0, 2 * PAGE, O_CLOEXEC));
  uint8_t byte = 0;
  REQUIRE(CHECK_OK(buffer));
  REQUIRE(CHECK_OK(map_file_fixed(fd, ioas, buffer, 0, 2 * PAGE, 0x10000)));
  CHECK_ERR(access_rw(fd, access, 0x10000, &byte, 1, 0), EINVAL);
  CHECK_ERR(access_rw(fd, access, 0x10000, &byte, 1, TEST_WRITE), EINVAL);
  CHECK_ERR(access_pin(fd, access, 0x10000, PAGE, NULL, 0, NULL), known(EFAULT, EINVAL));
}

TEST(K11, "rw on a file: what the file has; past its end EINVAL") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  const int access = create_access(fd, ioas, 0), file = keep(memfd_create("k11", MFD_CLOEXEC));
  uint8_t byte = 0x5a, back = 0;
  REQUIRE(CHECK_OK(ftruncate(file, PAGE)));
  REQUIRE(CHECK_OK(map_file_fixed(fd, ioas, file, 0, 2 * PAGE, 0x10000)));
  for (unsigned flags = 0; flags <= TEST_SLOW; flags += TEST_SLOW) {
    CHECK_OK(access_rw(fd, access, 0x10007, &byte, 1, flags | TEST_WRITE));
    CHECK_EQ(pread(file, &back, 1, 7), 1);
    CHECK_EQ(back, 0x5a);
    CHECK_ERR(access_rw(fd, access, 0x11000, &byte, 1, flags), EINVAL);
    CHECK_ERR(access_rw(fd, access, 0x11000, &byte, 1, flags | TEST_WRITE), EINVAL);
  }
}

TEST(K12, "rw on memory that is not there: EFAULT") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  const int access = create_access(fd, ioas, 0);
  uint8_t byte = 0;
  REQUIRE(CHECK_OK(map_fixed(fd, ioas, no_page(), PAGE, 0x10000)));
  CHECK_ERR(access_rw(fd, access, 0x10000, &byte, 1, 0), EFAULT);
  CHECK_ERR(access_rw(fd, access, 0x10000, &byte, 1, TEST_SLOW), EFAULT);
  CHECK_ERR(access_rw(fd, access, 0x10000, &byte, 1, TEST_WRITE), EFAULT);
}

TEST_ROWS(K14, "U14", "UNMAP of a pinned mapping drops the item; other items stay") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  uint8_t* memory = pages(4 * PAGE);
  const int access = create_access(fd, ioas, NEEDS_PIN), idle = create_access(fd, ioas, NEEDS_PIN);
  uint32_t gone, kept, again;
  (void)idle;
  REQUIRE(CHECK_OK(map_fixed(fd, ioas, memory, 2 * PAGE, 0x10000)));
  REQUIRE(CHECK_OK(map_fixed(fd, ioas, memory + 2 * PAGE, 2 * PAGE, 0x20000)));
  REQUIRE(CHECK_OK(access_pin(fd, access, 0x11000, PAGE, memory + PAGE, TEST_WRITE, &gone)));
  REQUIRE(CHECK_OK(access_pin(fd, access, 0x20000, 2 * PAGE, memory + 2 * PAGE, 0, &kept)));
  CHECK_EQ(gone, 0);
  CHECK_EQ(kept, 1);
  CHECK_OK(unmap(fd, ioas, 0x10000, 2 * PAGE));
  CHECK_ERR(access_unpin(fd, access, gone), ENOENT);
  CHECK_OK(check_refs(fd, memory, 2 * PAGE, 0));
  CHECK_OK(check_refs(fd, memory + 2 * PAGE, 2 * PAGE, 1));
  CHECK_OK(access_pin(fd, access, 0x20000, PAGE, NULL, 0, &again));
  CHECK_EQ(again, 2); /* numbers are not used again */
  CHECK_OK(access_unpin(fd, access, kept));
  CHECK_OK(check_refs(fd, memory + 2 * PAGE, PAGE, 1));
  CHECK_OK(check_refs(fd, memory + 3 * PAGE, PAGE, 0));
}

TEST(K15, "pages are pinned once for domains, accesses and copies; the last one unpins") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd), other = ioas_alloc(fd);
  uint8_t* memory = pages(4 * PAGE);
  const int access = create_access(fd, ioas, NEEDS_PIN), second = create_access(fd, other, NEEDS_PIN);
  struct mock m;
  uint32_t a, b, c;
  REQUIRE(CHECK_OK(map_fixed(fd, ioas, memory, 4 * PAGE, APERTURE)));
  CHECK_OK(check_refs(fd, memory, 4 * PAGE, 0));
  REQUIRE(CHECK_OK(copy_fixed(fd, RW, other, ioas, 2 * PAGE, APERTURE + PAGE, APERTURE)));
  REQUIRE(CHECK_OK(access_pin(fd, access, APERTURE, 3 * PAGE, memory, 0, &a)));
  REQUIRE(CHECK_OK(access_pin(fd, access, APERTURE + PAGE, 2 * PAGE, memory + PAGE, 0, &b)));
  REQUIRE(CHECK_OK(access_pin(fd, second, APERTURE, 2 * PAGE, memory + PAGE, 0, &c)));
  CHECK_OK(check_refs(fd, memory, 3 * PAGE, 1));
  CHECK_OK(check_refs(fd, memory + 3 * PAGE, PAGE, 0));
  m = mock_domain(fd, ioas);
  CHECK_OK(check_refs(fd, memory, 4 * PAGE, 1));
  CHECK_OK(check_map(fd, m.hwpt, APERTURE, 4 * PAGE, memory));
  CHECK_OK(access_unpin(fd, access, a));
  CHECK_OK(destroy(fd, m.stdev));
  CHECK_OK(check_refs(fd, memory, PAGE, 0));
  CHECK_OK(check_refs(fd, memory + PAGE, 2 * PAGE, 1));
  CHECK_OK(access_unpin(fd, access, b));
  CHECK_OK(check_refs(fd, memory + PAGE, 2 * PAGE, 1)); /* the copy's pin */
  CHECK_OK(unmap(fd, ioas, APERTURE, 4 * PAGE));
  CHECK_OK(check_refs(fd, memory + PAGE, 2 * PAGE, 1));
  CHECK_OK(access_unpin(fd, second, c));
  CHECK_OK(check_refs(fd, memory, 4 * PAGE, 0));
}

TEST(K16, "replace: not attached to what it was, pins dropped, the old IOAS can go; same IOAS changes nothing") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd), other = ioas_alloc(fd);
  uint8_t* memory = pages(PAGE);
  const int access = create_access(fd, ioas, NEEDS_PIN);
  uint32_t item;
  REQUIRE(CHECK_OK(map_fixed(fd, ioas, memory, PAGE, 0x10000)));
  REQUIRE(CHECK_OK(access_pin(fd, access, 0x10000, PAGE, memory, 0, &item)));
  CHECK_OK(access_replace(fd, access, ioas));
  CHECK_OK(check_refs(fd, memory, PAGE, 1));
  CHECK_ERR(access_replace(fd, access, 77), ENOENT);
  CHECK_ERR(access_replace(fd, fd, other), EBADFD);
  CHECK_OK(access_replace(fd, access, other));
  CHECK_OK(check_refs(fd, memory, PAGE, 0));
  CHECK_ERR(access_unpin(fd, access, item), ENOENT);
  CHECK_EQ(alignment_of(fd, ioas), 1);
  CHECK_EQ(alignment_of(fd, other), PAGE);
  CHECK_OK(destroy(fd, ioas));
  CHECK_ERR(destroy(fd, other), EBUSY);
}

TEST(K17, "closing the access drops its pins; closing /dev/iommu first leaves it working") {
  const int fd = open_test_iommufd(), second = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  uint8_t* memory = pages(PAGE);
  const int access = create_access(fd, ioas, NEEDS_PIN);
  REQUIRE(CHECK_OK(map_fixed(fd, ioas, memory, PAGE, 0x10000)));
  REQUIRE(CHECK_OK(access_pin(fd, access, 0x10000, PAGE, memory, 0, NULL)));
  close_kept(fd);
  CHECK_OK(check_refs(second, memory, PAGE, 1));
  memory[5] = 0;
  CHECK_OK(access_rw(second, access, 0x10005, "\x77", 1, TEST_WRITE)); /* any open of /dev/iommu carries the command */
  CHECK_EQ(memory[5], 0x77);
  close_kept(access);
  CHECK_OK(check_refs(second, memory, PAGE, 0));
}

TEST(K18, "memory of a process that has ended: rw and pin EFAULT") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  const int access = create_access(fd, ioas, NEEDS_PIN);
  uint8_t byte = 0;
  map_by_child(fd, ioas, pages(PAGE), PAGE, 0x10000);
  CHECK_ERR(access_rw(fd, access, 0x10000, &byte, 1, 0), EFAULT);
  CHECK_ERR(access_pin(fd, access, 0x10000, PAGE, NULL, 0, NULL), EFAULT);
}

TEST(K19, "memory of another process that lives: rw reaches it, not ours at that address") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  const int access = create_access(fd, ioas, NEEDS_PIN);
  uint8_t* memory = pages(PAGE);
  uint8_t byte = 0;
  int ready[2], go[2], status = 0;
  pid_t child;
  memory[0] = 1;
  REQUIRE(CHECK_OK(pipe(ready)));
  REQUIRE(CHECK_OK(pipe(go)));
  child = fork();
  if (child == 0) {
    memory[0] = 2;
    if (map_fixed(fd, ioas, memory, PAGE, 0x10000) != 0 || write(ready[1], "", 1) != 1) _exit(1);
    close(go[1]);
    _exit(read(go[0], &byte, 1) != 1 || memory[1] != 0x33);
  }
  REQUIRE(CHECK_EQ(read(ready[0], &byte, 1), 1));
  CHECK_OK(access_rw(fd, access, 0x10000, &byte, 1, 0));
  CHECK_EQ(byte, 2);
  CHECK_OK(access_rw(fd, access, 0x10001, "\x33", 1, TEST_WRITE));
  CHECK_OK(access_pin(fd, access, 0x10000, PAGE, NULL, TEST_WRITE, NULL));
  REQUIRE(CHECK_EQ(write(go[1], "", 1), 1));
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  CHECK_EQ(memory[1], 0);
}

SECTION("iommufd-core 4.7");

TEST_ROWS(K20, "T22d", "a pin of an access keeps a part of a mapping from being cut off (VFIO type1): EINVAL") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  const int access = create_access(fd, ioas, NEEDS_PIN);
  struct iommu_vfio_ioas compat = {.size = sizeof(compat), .ioas_id = ioas, .op = IOMMU_VFIO_IOAS_SET};
  struct vfio_iommu_type1_dma_unmap part = {.argsz = sizeof(part), .iova = 0x12000, .size = PAGE};
  REQUIRE(CHECK_OK(ioctl(fd, IOMMU_VFIO_IOAS, &compat)));
  REQUIRE(CHECK_OK(ioctl(fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU)));
  REQUIRE(CHECK_OK(map_fixed(fd, ioas, pages(4 * PAGE), 4 * PAGE, 0x10000)));
  REQUIRE(CHECK_OK(access_pin(fd, access, 0x10000, PAGE, NULL, 0, NULL)));
  CHECK_ERR(ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &part), EINVAL);
  CHECK_EQ(part.size, PAGE);
  CHECK_OK(access_unpin(fd, access, 0));
  CHECK_OK(ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &part));
}

/* ---- in parallel --------------------------------------------------------------------------------------- */

SECTION("iommufd-core 4.6");

struct storm {
  int fd, access;
  uint32_t ioas;
  uint8_t* memory;
  atomic_bool stop;
  atomic_uint wrong;
};

static void expect(struct storm* s, int r, int a, int b, int c) {
  if (r < 0 && errno != a && errno != b && errno != c) {
    note("errno %s", errno_text(errno));
    atomic_fetch_add(&s->wrong, 1);
  }
}

static void* pinner(void* arg) {
  struct storm* s = arg;
  while (!atomic_load(&s->stop)) {
    uint32_t item;
    const int r = access_pin(s->fd, s->access, 0x10000, 4 * PAGE, s->memory, TEST_WRITE, &item);
    expect(s, r, ENOENT, EINVAL, 0); /* not mapped, or being unmapped */
    if (r == 0) expect(s, access_unpin(s->fd, s->access, item), ENOENT, 0, 0);
  }
  return NULL;
}

static void* copier(void* arg) {
  struct storm* s = arg;
  uint8_t buf[256];
  for (unsigned flags = 0; !atomic_load(&s->stop); flags ^= TEST_SLOW)
    expect(s, access_rw(s->fd, s->access, 0x11000 - 128, buf, sizeof(buf), flags), ENOENT, EINVAL, 0);
  return NULL;
}

static void* mapper(void* arg) {
  struct storm* s = arg;
  while (!atomic_load(&s->stop)) {
    expect(s, map_fixed(s->fd, s->ioas, s->memory, 4 * PAGE, 0x10000), EEXIST, 0, 0);
    expect(s, unmap(s->fd, s->ioas, 0x10000, 4 * PAGE), ENOENT, EBUSY, 0);
  }
  return NULL;
}

TEST(K21, "pin, rw, map and unmap in parallel: every answer is one of the rules', and nothing stays pinned") {
  struct storm s = {.fd = open_test_iommufd()};
  pthread_t threads[6];
  void* (*const what[])(void*) = {pinner, pinner, copier, copier, mapper, mapper};
  s.ioas = ioas_alloc(s.fd);
  s.access = create_access(s.fd, s.ioas, NEEDS_PIN);
  s.memory = pages(4 * PAGE);
  for (int i = 0; i < 6; i++) REQUIRE(CHECK_EQ(pthread_create(&threads[i], NULL, what[i], &s), 0));
  usleep(500 * 1000);
  atomic_store(&s.stop, true);
  for (int i = 0; i < 6; i++) pthread_join(threads[i], NULL);
  CHECK_EQ(atomic_load(&s.wrong), 0);
  (void)unmap(s.fd, s.ioas, 0x10000, 4 * PAGE);
  CHECK_OK(check_refs(s.fd, s.memory, 4 * PAGE, 0));
}

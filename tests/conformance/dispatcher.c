/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The dispatcher of /dev/iommu and the object table (spec iommufd-core 1, rows D of 7.1). The rows about all commands go
 * through those that this kernel offers; the ones in `always` must be there.
 */
#define _GNU_SOURCE
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "uapi.h"

static const struct command {
  unsigned long code;
  const char* name;
  uint32_t min_size, size;
  bool always; /* the others came with some version of the kernel */
} commands[] = {
    {IOMMU_DESTROY, "DESTROY", 8, 8, true},
    {IOMMU_IOAS_ALLOC, "IOAS_ALLOC", 12, 12, true},
    {IOMMU_IOAS_ALLOW_IOVAS, "IOAS_ALLOW_IOVAS", 24, 24, true},
    {IOMMU_IOAS_COPY, "IOAS_COPY", 40, 40, true},
    {IOMMU_IOAS_IOVA_RANGES, "IOAS_IOVA_RANGES", 32, 32, true},
    {IOMMU_IOAS_MAP, "IOAS_MAP", 40, 40, true},
    {IOMMU_IOAS_UNMAP, "IOAS_UNMAP", 24, 24, true},
    {IOMMU_OPTION, "OPTION", 24, 24, false},
    {IOMMU_VFIO_IOAS, "VFIO_IOAS", 12, 12, false},
    {IOMMU_HWPT_ALLOC, "HWPT_ALLOC", 24, 48, true},
    {IOMMU_GET_HW_INFO, "GET_HW_INFO", 32, 40, true},
    {IOMMU_HWPT_SET_DIRTY_TRACKING, "HWPT_SET_DIRTY_TRACKING", 16, 16, false},
    {IOMMU_HWPT_GET_DIRTY_BITMAP, "HWPT_GET_DIRTY_BITMAP", 48, 48, false},
    {IOMMU_HWPT_INVALIDATE, "HWPT_INVALIDATE", 32, 32, false},
    {IOMMU_FAULT_QUEUE_ALLOC, "FAULT_QUEUE_ALLOC", 16, 16, false},
    {IOMMU_IOAS_MAP_FILE, "IOAS_MAP_FILE", 40, 40, false},
    {IOMMU_VIOMMU_ALLOC, "VIOMMU_ALLOC", 24, 40, false},
    {IOMMU_VDEVICE_ALLOC, "VDEVICE_ALLOC", 24, 24, false},
    {IOMMU_IOAS_CHANGE_PROCESS, "IOAS_CHANGE_PROCESS", 8, 8, false},
    {IOMMU_VEVENTQ_ALLOC, "VEVENTQ_ALLOC", 28, 32, false},
    {IOMMU_HW_QUEUE_ALLOC, "HW_QUEUE_ALLOC", 40, 40, false},
    {IOMMU_IOAS_NOIOMMU_GET_PA, "IOAS_NOIOMMU_GET_PA", 40, 40, false},
};
#define NUM_COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* A slot of the table that is empty reads the size, and then says ENOTTY. */
static bool offered(int iommufd, const struct command* c) {
  uint64_t size = 0;
  return ioctl(iommufd, c->code, &size) == 0 || errno != ENOTTY;
}

/* Runs a command on a struct of `size` bytes that are zero but for the size; byte `mark` (if inside) is 1. */
static int run_with_size(int iommufd, const struct command* c, uint32_t size, uint32_t mark) {
  uint8_t* arg = pages(2 * PAGE);
  int r, e;
  memcpy(arg, &size, sizeof(size));
  if (mark) arg[mark] = 1;
  errno = 0;
  r = ioctl(iommufd, c->code, arg);
  e = errno;
  if (r == 0 && c->code == IOMMU_FAULT_QUEUE_ALLOC) close((int)((struct iommu_fault_alloc*)arg)->out_fault_fd);
  munmap(arg, 2 * PAGE);
  return r < 0 ? e : 0;
}

SECTION("iommufd-core 1.3");

TEST(D01, "each command with a NULL pointer: EFAULT (ENOTTY: behind the last command of this kernel)") {
  const int iommufd = open_iommufd();
  for (size_t i = 0; i < NUM_COMMANDS; i++) {
    const bool fault = ioctl(iommufd, commands[i].code, NULL) < 0 && errno == EFAULT;
    CHECK(fault || (!commands[i].always && errno == ENOTTY));
    if (!offered(iommufd, &commands[i])) {
      note("%s is not offered", commands[i].name);
      CHECK(!commands[i].always);
    }
  }
}

TEST(D02, "another type byte with a NULL pointer: EFAULT wins") {
  CHECK_ERR(ioctl(open_iommufd(), _IO('x', 0x81), NULL), known(EFAULT, ENOTTY));
}

TEST(D03, "another type byte with a good pointer: ENOTTY") {
  struct iommu_ioas_alloc cmd = {.size = sizeof(cmd)};
  CHECK_ERR(ioctl(open_iommufd(), _IO('x', 0x81), &cmd), ENOTTY);
}

TEST(D04, "a command with direction and size bits: ENOTTY") {
  struct iommu_ioas_alloc cmd = {.size = sizeof(cmd)};
  CHECK_ERR(ioctl(open_iommufd(), _IOWR(';', 0x81, int), &cmd), ENOTTY);
  CHECK_ERR(ioctl(open_iommufd(), _IOR(';', 0x81, int), &cmd), ENOTTY);
}

TEST(D05, "numbers outside the table: ENOTTY, pointer not touched") {
  const int iommufd = open_iommufd();
  CHECK_ERR(ioctl(iommufd, _IO(';', 0x7f), NULL), ENOTTY);
  CHECK_ERR(ioctl(iommufd, _IO(';', 0xa1), NULL), ENOTTY);
  CHECK_ERR(ioctl(iommufd, _IO(';', 0x00), NULL), ENOTTY);
  CHECK_ERR(ioctl(iommufd, _IO(';', 0xff), NULL), ENOTTY);
}

TEST(D06, "the number behind the last command: ENOTTY") {
  const int iommufd = open_iommufd();
  const struct command* last = &commands[NUM_COMMANDS - 1];
  CHECK_ERR(ioctl(iommufd, offered(iommufd, last) ? last->code + 1 : last->code, NULL), ENOTTY);
}

SECTION("iommufd-core 1.4");

TEST(D07, "DESTROY with size 0 or 7: EINVAL") {
  const int iommufd = open_iommufd();
  CHECK_EQ(run_with_size(iommufd, &commands[0], 0, 0), EINVAL);
  CHECK_EQ(run_with_size(iommufd, &commands[0], 7, 0), EINVAL);
}

TEST(D08, "each command one byte too short: EINVAL") {
  const int iommufd = open_iommufd();
  for (size_t i = 0; i < NUM_COMMANDS; i++) {
    if (!offered(iommufd, &commands[i])) continue;
    if (!CHECK_EQ(run_with_size(iommufd, &commands[i], commands[i].min_size - 1, 0), EINVAL))
      note("%s", commands[i].name);
  }
}

TEST(D09, "each command with a non-zero byte behind what the kernel knows: E2BIG") {
  const int iommufd = open_iommufd();
  for (size_t i = 0; i < NUM_COMMANDS; i++) {
    const struct command* c = &commands[i];
    if (!offered(iommufd, c)) continue;
    if (!CHECK_EQ(run_with_size(iommufd, c, c->size + 1, c->size), E2BIG)) note("%s", c->name);
    if (!CHECK_EQ(run_with_size(iommufd, c, PAGE, PAGE - 1), E2BIG)) note("%s", c->name);
  }
}

TEST(D10, "each command with zero bytes behind it: as without them") {
  const int iommufd = open_iommufd();
  for (size_t i = 0; i < NUM_COMMANDS; i++) {
    const struct command* c = &commands[i];
    if (!offered(iommufd, c)) continue;
    if (!CHECK_EQ(run_with_size(iommufd, c, c->size + 1, 0), run_with_size(iommufd, c, c->size, 0)))
      note("%s", c->name);
  }
}

/* A page of zeros with an unmapped one behind it. */
static uint8_t* page_before_a_hole(void) {
  uint8_t* p = pages(2 * PAGE);
  REQUIRE(CHECK_OK(munmap(p + PAGE, PAGE)));
  return p;
}

TEST(D11, "size 8192, zeros to the end of the page and nothing behind it: EFAULT") {
  uint8_t* arg = page_before_a_hole();
  *(uint32_t*)arg = 2 * PAGE;
  CHECK_ERR(ioctl(open_iommufd(), IOMMU_IOAS_ALLOC, arg), EFAULT);
}

TEST(D12, "the same with a non-zero byte before the hole: E2BIG") {
  uint8_t* arg = page_before_a_hole();
  *(uint32_t*)arg = 2 * PAGE;
  arg[PAGE - 1] = 1;
  CHECK_ERR(ioctl(open_iommufd(), IOMMU_IOAS_ALLOC, arg), E2BIG);
}

TEST(D13, "size 4096 with a zero tail: accepted") {
  uint8_t* arg = page_before_a_hole();
  *(uint32_t*)arg = PAGE;
  CHECK_OK(ioctl(open_iommufd(), IOMMU_IOAS_ALLOC, arg));
  CHECK_EQ(*(uint32_t*)arg, PAGE);
}

TEST(D14, "first versions of grown structs: HWPT_ALLOC of 24 bytes, GET_HW_INFO of 32 writes nothing behind them") {
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, iommufd);
  struct iommu_hwpt_alloc alloc = {
      .size = 24, .dev_id = d.id, .pt_id = ioas_alloc(iommufd), .data_type = 77, .data_len = 78};
  struct iommu_hw_info info = {.size = 32, .dev_id = d.id, .out_capabilities = 0x5a5a5a5a5a5a5a5a};
  CHECK_OK(ioctl(iommufd, IOMMU_HWPT_ALLOC, &alloc));
  CHECK_NE(alloc.out_hwpt_id, 0);
  CHECK_EQ(alloc.data_type, 77);
  CHECK_OK(ioctl(iommufd, IOMMU_GET_HW_INFO, &info));
  CHECK_EQ(info.out_capabilities, 0x5a5a5a5a5a5a5a5a);
}

TEST(D14v,
     "first versions: VIOMMU_ALLOC of 24 bytes and VEVENTQ_ALLOC of 28 are looked at, without what is behind them") {
  const int iommufd = open_iommufd();
  struct iommu_viommu_alloc viommu = {.size = 24, .type = 1, .dev_id = NO_ID, .data_len = 77};
  struct iommu_veventq_alloc queue = {.size = 28, .viommu_id = NO_ID, .type = 1, .veventq_depth = 0, .__reserved = 1};
  CHECK_ERR(ioctl(iommufd, IOMMU_VIOMMU_ALLOC, &viommu), ENOENT); /* the device */
  CHECK_ERR(ioctl(iommufd, IOMMU_VEVENTQ_ALLOC, &queue), EINVAL); /* the depth */
  queue.veventq_depth = 1;
  CHECK_ERR(ioctl(iommufd, IOMMU_VEVENTQ_ALLOC, &queue), ENOENT); /* the vIOMMU */
  queue.size = 32;
  CHECK_ERR(ioctl(iommufd, IOMMU_VEVENTQ_ALLOC, &queue), EOPNOTSUPP); /* now reserved counts */
}

SECTION("iommufd-core 1.6");

TEST(D15, "the first ids are 1, 2, 3") {
  const int iommufd = open_iommufd();
  CHECK_EQ(ioas_alloc(iommufd), 1);
  CHECK_EQ(ioas_alloc(iommufd), 2);
  CHECK_EQ(ioas_alloc(iommufd), 3);
  CHECK_EQ(ioas_alloc(open_iommufd()), 1);
}

TEST(D16, "the lowest free id is next") {
  const int iommufd = open_iommufd();
  for (int i = 0; i < 3; i++) ioas_alloc(iommufd);
  CHECK_OK(destroy(iommufd, 2));
  CHECK_OK(destroy(iommufd, 1));
  CHECK_EQ(ioas_alloc(iommufd), 1);
  CHECK_EQ(ioas_alloc(iommufd), 2);
  CHECK_EQ(ioas_alloc(iommufd), 4);
}

SECTION("iommufd-core 1.9");

TEST(D17, "DESTROY of ids that do not exist: ENOENT") {
  const int iommufd = open_iommufd();
  const uint32_t id = ioas_alloc(iommufd);
  CHECK_OK(destroy(iommufd, id));
  CHECK_ERR(destroy(iommufd, id), ENOENT);
  CHECK_ERR(destroy(iommufd, 0), ENOENT);
  CHECK_ERR(destroy(iommufd, 0x80000000), ENOENT);
  CHECK_ERR(destroy(iommufd, NO_ID), ENOENT);
}

SECTION("iommufd-core 3.1");

TEST(D18, "IOAS_ALLOC with flags: EOPNOTSUPP, id not leaked") {
  const int iommufd = open_iommufd();
  struct iommu_ioas_alloc cmd = {.size = sizeof(cmd), .flags = 1};
  CHECK_ERR(ioctl(iommufd, IOMMU_IOAS_ALLOC, &cmd), EOPNOTSUPP);
  CHECK_EQ(ioas_alloc(iommufd), 1);
}

TEST(D19, "IOAS_ALLOC with a read-only struct: EFAULT, id not leaked") {
  const int iommufd = open_iommufd();
  const struct iommu_ioas_alloc cmd = {.size = sizeof(cmd)};
  CHECK_ERR(ioctl(iommufd, IOMMU_IOAS_ALLOC, read_only(&cmd, sizeof(cmd))), EFAULT);
  CHECK_EQ(ioas_alloc(iommufd), 1);
}

SECTION("iommufd-core 1.5");

TEST(D20, "IOAS_ALLOC of 32 bytes: size stays 32, the tail is not written") {
  uint32_t arg[9] = {32, 0, 0, 0, 0, 0, 0, 0, 0x5a5a5a5a};
  CHECK_OK(ioctl(open_iommufd(), IOMMU_IOAS_ALLOC, arg));
  CHECK_EQ(arg[0], 32);
  CHECK_EQ(arg[2], 1);
  for (int i = 3; i < 8; i++) CHECK_EQ(arg[i], 0);
  CHECK_EQ(arg[8], 0x5a5a5a5a);
}

SECTION("iommufd-core 1.9");

TEST(D21, "DESTROY of an IOAS with areas: ok") {
  const int iommufd = open_iommufd();
  const uint32_t ioas = ioas_alloc(iommufd);
  REQUIRE(CHECK_OK(map_fixed(iommufd, ioas, pages(PAGE), PAGE, 0x10000)));
  CHECK_OK(destroy(iommufd, ioas));
}

static void destroy_with_hwpt(enum kind kind) {
  const int iommufd = open_iommufd();
  const uint32_t ioas = ioas_alloc(iommufd);
  const uint32_t hwpt = add_domain(iommufd, ioas, kind);
  CHECK_ERR(destroy(iommufd, ioas), EBUSY);
  CHECK_OK(destroy(iommufd, hwpt));
  CHECK_OK(destroy(iommufd, ioas));
}

TEST(D22, "DESTROY of an IOAS with a HWPT: EBUSY") { destroy_with_hwpt(BEHIND_IOMMU); }
TEST(D22n, "DESTROY of an IOAS with a noiommu HWPT: EBUSY") { destroy_with_hwpt(NOIOMMU); }

TEST(D23, "DESTROY of a bound device: EBUSY") {
  const int iommufd = open_iommufd();
  CHECK_ERR(destroy(iommufd, open_and_bind(BEHIND_IOMMU, 0, iommufd).id), EBUSY);
}

TEST(D24, "DESTROY of an attached HWPT, automatic or not: EBUSY") {
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, iommufd);
  uint32_t ioas = ioas_alloc(iommufd), automatic = ioas, manual;
  REQUIRE(CHECK_OK(attach(&d, &automatic)));
  CHECK_ERR(destroy(iommufd, automatic), EBUSY);
  REQUIRE(CHECK_OK(hwpt_alloc(iommufd, d.id, ioas, 0, &manual)));
  REQUIRE(CHECK_OK(attach_to(&d, manual)));
  CHECK_ERR(destroy(iommufd, manual), EBUSY);
}

/* ---- D26: DESTROY while another thread's command on the object waits for a page ----------------------- */

struct blocked {
  int iommufd;
  uint32_t ioas;
  struct iommu_iova_range* ranges;
  int result;
};

static void* allow_from_missing_page(void* data) {
  struct blocked* b = data;
  b->result = allow_iovas(b->iommufd, b->ioas, b->ranges, 1) < 0 ? errno : 0;
  return NULL;
}

TEST(D26, "DESTROY of an IOAS whose ALLOW_IOVAS waits for a page: EBUSY, and works afterwards") {
  struct blocked b = {.iommufd = open_iommufd(), .ranges = (struct iommu_iova_range*)pages(PAGE)};
  struct uffdio_api api = {.api = UFFD_API};
  struct uffdio_register region = {.range = {.start = (uintptr_t)b.ranges, .len = PAGE},
                                   .mode = UFFDIO_REGISTER_MODE_MISSING};
  struct uffdio_zeropage zero = {.range = region.range};
  struct uffd_msg message;
  struct pollfd p;
  pthread_t thread;
  const int uffd = keep((int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
  if (uffd < 0) SKIP("userfaultfd for faults of the kernel: %s", errno_text(errno));
  b.ioas = ioas_alloc(b.iommufd);
  REQUIRE(CHECK_OK(ioctl(uffd, UFFDIO_API, &api)));
  REQUIRE(CHECK_OK(ioctl(uffd, UFFDIO_REGISTER, &region)));
  REQUIRE(CHECK_EQ(pthread_create(&thread, NULL, allow_from_missing_page, &b), 0));
  p = (struct pollfd){.fd = uffd, .events = POLLIN};
  if (CHECK_EQ(poll(&p, 1, 5000), 1) && CHECK_EQ(read(uffd, &message, sizeof(message)), sizeof(message)))
    CHECK_ERR(destroy(b.iommufd, b.ioas), EBUSY);
  CHECK_OK(ioctl(uffd, UFFDIO_ZEROPAGE, &zero));
  pthread_join(thread, NULL);
  CHECK_EQ(b.result, EINVAL); /* the page of zeros holds [0, 0], which is too short */
  CHECK_OK(destroy(b.iommufd, b.ioas));
}

SECTION("iommufd-core 1.12");

TEST_ROWS(D29, "D30", "mmap of the iommufd: EINVAL when private, EPERM when executable, ENXIO when there is nothing") {
  const int iommufd = open_iommufd();
  CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, iommufd, PAGE) == MAP_FAILED && errno == EINVAL);
  CHECK(mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, iommufd, PAGE) == MAP_FAILED && errno == EPERM);
  CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, iommufd, PAGE) == MAP_FAILED && errno == ENXIO);
}

/* ---- beyond the rows ---------------------------------------------------------------------------------- */

SECTION("iommufd-core 1.1");

TEST(X20, "read and write of the iommufd: EINVAL") {
  const int iommufd = open_iommufd();
  char byte = 0;
  CHECK_ERR(read(iommufd, &byte, 1), EINVAL);
  CHECK_ERR(write(iommufd, &byte, 1), EINVAL);
}

TEST(X21, "a descriptor opened for reading only takes commands") {
  const int iommufd = keep(open("/dev/iommu", O_RDONLY | O_CLOEXEC));
  REQUIRE(CHECK_OK(iommufd));
  CHECK_EQ(ioas_alloc(iommufd), 1);
}

TEST(X22, "dup shares the objects, another open does not") {
  const int iommufd = open_iommufd(), same = keep(dup(iommufd)), other = open_iommufd();
  const uint32_t ioas = ioas_alloc(iommufd);
  CHECK_ERR(destroy(other, ioas), ENOENT);
  CHECK_OK(destroy(same, ioas));
  CHECK_ERR(destroy(iommufd, ioas), ENOENT);
}

SECTION("iommufd-core 1.5");

TEST(X23, "a struct may lie at any address, also across two pages") {
  const int iommufd = open_iommufd();
  const struct iommu_ioas_alloc cmd = {.size = sizeof(cmd)};
  uint8_t* p = pages(2 * PAGE);
  for (size_t at = PAGE - sizeof(cmd) - 1; at <= PAGE + 1; at++) {
    struct iommu_ioas_alloc out;
    memcpy(p + at, &cmd, sizeof(cmd));
    if (!CHECK_OK(ioctl(iommufd, IOMMU_IOAS_ALLOC, p + at))) note("at %zu", at);
    memcpy(&out, p + at, sizeof(out));
    CHECK_EQ(out.out_ioas_id, at - (PAGE - sizeof(cmd) - 1) + 1);
    memset(p, 0, 2 * PAGE);
  }
}

TEST(X24, "a struct whose second half is not readable: EFAULT; not writable: EFAULT and nothing made") {
  const int iommufd = open_iommufd();
  uint8_t* p = pages(2 * PAGE);
  uint32_t* arg = (uint32_t*)(p + PAGE - 8);
  arg[0] = 12;
  REQUIRE(CHECK_OK(mprotect(p + PAGE, PAGE, PROT_READ)));
  CHECK_ERR(ioctl(iommufd, IOMMU_IOAS_ALLOC, arg), EFAULT);
  REQUIRE(CHECK_OK(mprotect(p + PAGE, PAGE, PROT_NONE)));
  CHECK_ERR(ioctl(iommufd, IOMMU_IOAS_ALLOC, arg), EFAULT);
  CHECK_EQ(ioas_alloc(iommufd), 1);
}

SECTION("iommufd-core 1.11");

TEST(X25, "a closed context leaves nothing to the next one") {
  for (int i = 0; i < 50; i++) {
    const int iommufd = open_iommufd();
    const uint32_t ioas = ioas_alloc(iommufd);
    REQUIRE(CHECK_EQ(ioas, 1));
    REQUIRE(CHECK_OK(map_fixed(iommufd, ioas, pages(PAGE), PAGE, 0)));
    close_kept(iommufd);
  }
}

SECTION("iommufd-core 1.3");

TEST(X26, "garbage in every command: an errno, and the context goes on") {
  const int iommufd = open_iommufd();
  uint32_t seed = 12345;
  _Alignas(8) uint8_t arg[96];
  for (int i = 0; i < 4000; i++) {
    unsigned long code;
    uint32_t word;
    for (size_t j = 0; j < sizeof(arg); j++) arg[j] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
    code = _IO(';', 0x60 + (seed >> 8) % 0x50);
    word = 8 + seed % 56;
    if (i % 2 == 0) memcpy(arg, &word, sizeof(word));
    if (ioctl(iommufd, code, arg) != 0 || code != IOMMU_FAULT_QUEUE_ALLOC) continue;
    memcpy(&word, arg + 12, sizeof(word));
    close((int)word);
  }
  REQUIRE(CHECK_NE(ioas_alloc(iommufd), 0));
}

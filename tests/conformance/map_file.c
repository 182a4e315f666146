/* SPDX-License-Identifier: BSD-3-Clause */
/* MAP_FILE of ordinary files (spec iommufd-core 3.6, rows F of 7.4). */
#define _GNU_SOURCE
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>

#include "edu.h"

static int map_file(int iommufd, uint32_t ioas, uint32_t flags, int fd, uint64_t start, uint64_t length,
                    uint64_t iova) {
  struct iommu_ioas_map_file cmd = {
      .size = sizeof(cmd), .flags = flags, .ioas_id = ioas, .fd = fd, .start = start, .length = length, .iova = iova};
  return ioctl(iommufd, IOMMU_IOAS_MAP_FILE, &cmd);
}

static int map_at(int iommufd, uint32_t ioas, int fd, uint64_t start, uint64_t length, uint64_t iova) {
  return map_file(iommufd, ioas, RW | FIXED, fd, start, length, iova);
}

static int memory_file(off_t size) {
  const int fd = keep(memfd_create("conformance", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  REQUIRE(CHECK_OK(fd));
  REQUIRE(CHECK_OK(ftruncate(fd, size)));
  return fd;
}

SECTION("iommufd-core 3.6");

TEST_ROWS(F01, "F02 F03 F04 F05 F06 F07 F08", "MAP_FILE: the checks before the file, in order") {
  const int iommufd = open_iommufd();
  const uint32_t ioas = ioas_alloc(iommufd);
  CHECK_ERR(map_file(iommufd, NO_ID, 8, -1, MAX, 0, MAX), EOPNOTSUPP);
  CHECK_ERR(map_file(iommufd, NO_ID, 0, -1, MAX, 0, MAX), EOVERFLOW); /* F02 */
  CHECK_ERR(map_file(iommufd, NO_ID, 0, -1, 0, MAX, 0), EOVERFLOW);
  CHECK_ERR(map_file(iommufd, NO_ID, FIXED, -1, MAX, 0, 0), EINVAL);       /* F03 */
  CHECK_ERR(map_file(iommufd, NO_ID, RW, -1, MAX, 0, 0), ENOENT);          /* F04 */
  CHECK_ERR(map_file(iommufd, ioas, RW, -1, MAX, 0, 0), EINVAL);           /* F05 */
  CHECK_ERR(map_file(iommufd, ioas, RW, -1, MAX, 2, 0), EOVERFLOW);        /* F06 */
  CHECK_ERR(map_file(iommufd, ioas, RW, -1, 0, MAX - PAGE + 1, 0), EBADF); /* F07 */
  CHECK_ERR(map_file(iommufd, ioas, RW, keep(open("/dev/null", O_PATH | O_CLOEXEC)), 0, PAGE, 0), EBADF);
  CHECK_ERR(map_file(iommufd, ioas, RW, memory_file(PAGE), 0, MAX - PAGE + 1, 0), EINVAL);
}

TEST(F09, "without a domain any open file maps, wherever") {
  const int iommufd = open_iommufd();
  const uint32_t ioas = ioas_alloc(iommufd);
  int ends[2];
  REQUIRE(CHECK_OK(pipe2(ends, O_CLOEXEC)));
  keep(ends[0]);
  keep(ends[1]);
  CHECK_OK(map_at(iommufd, ioas, ends[0], 0, PAGE, 0x10000));
  CHECK_OK(map_at(iommufd, ioas, keep(open("/dev/null", O_RDWR | O_CLOEXEC)), 0, PAGE, 0x20000));
  CHECK_OK(map_at(iommufd, ioas, iommufd, 0, PAGE, 0x30000));
  CHECK_OK(map_at(iommufd, ioas, memory_file(PAGE), 0x100000, PAGE, 0x40000));
}

static void attach_over_pipe(enum kind kind) {
  const int iommufd = open_iommufd();
  const uint32_t ioas = ioas_alloc(iommufd);
  const struct vdev d = open_and_bind(kind, 0, iommufd);
  int ends[2];
  REQUIRE(CHECK_OK(pipe2(ends, O_CLOEXEC)));
  keep(ends[0]);
  keep(ends[1]);
  REQUIRE(CHECK_OK(map_at(iommufd, ioas, ends[0], 0, PAGE, 0x10000)));
  CHECK_ERR(attach_to(&d, ioas), EINVAL); /* F10 */
  REQUIRE(CHECK_OK(unmap(iommufd, ioas, 0x10000, PAGE)));
  REQUIRE(CHECK_OK(attach_to(&d, ioas)));
  CHECK_ERR(map_at(iommufd, ioas, ends[0], 0, PAGE, 0x10000), EINVAL); /* F11 */
  CHECK_ERR(map_at(iommufd, ioas, keep(open("/dev/null", O_RDWR | O_CLOEXEC)), 0, PAGE, 0x10000), EINVAL);
}

TEST_ROWS(F10, "F11", "a pipe or /dev/null cannot be pinned: EINVAL, at attach and at MAP_FILE") {
  attach_over_pipe(BEHIND_IOMMU);
}
TEST(F10n, "the same with a noiommu device") { attach_over_pipe(NOIOMMU); }

TEST_ROWS(F12, "F13", "pages behind the end of the file: EINVAL, until it grows") {
  const int iommufd = open_iommufd();
  const uint32_t ioas = ioas_alloc(iommufd);
  const int large = memory_file(0x3000), small = memory_file(0x800);
  add_domain(iommufd, ioas, BEHIND_IOMMU);
  CHECK_ERR(map_at(iommufd, ioas, large, 0x2000, 0x2000, 0x10000), EINVAL);
  CHECK_OK(map_at(iommufd, ioas, large, 0x2000, 0x1000, 0x10000));
  CHECK_ERR(map_at(iommufd, ioas, small, 0, 0x1000, 0x20000), EINVAL); /* F13 */
  REQUIRE(CHECK_OK(ftruncate(small, 0x1000)));
  CHECK_OK(map_at(iommufd, ioas, small, 0, 0x1000, 0x20000));
}

TEST(F16, "open mode and seals do not matter") {
  const int iommufd = open_iommufd();
  const uint32_t ioas = ioas_alloc(iommufd);
  const int fd = memory_file(PAGE), sealed = memory_file(PAGE);
  char path[64];
  int reader;
  add_domain(iommufd, ioas, BEHIND_IOMMU);
  snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
  reader = keep(open(path, O_RDONLY | O_CLOEXEC));
  REQUIRE(CHECK_OK(reader));
  CHECK_OK(map_at(iommufd, ioas, reader, 0, PAGE, 0x10000));
  REQUIRE(CHECK_OK(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE)));
  CHECK_OK(map_at(iommufd, ioas, sealed, 0, PAGE, 0x20000));
}

/* A dma-buf of two pages that no device of VFIO has made. */
static int open_dma_buf(void) {
  struct dma_heap_allocation_data heap = {.len = 2 * PAGE, .fd_flags = O_RDWR | O_CLOEXEC};
  struct udmabuf_create memory = {.flags = UDMABUF_FLAGS_CLOEXEC, .size = 2 * PAGE};
  const int heaps = keep(open("/dev/dma_heap/system", O_RDWR | O_CLOEXEC));
  const int maker = keep(open("/dev/udmabuf", O_RDWR | O_CLOEXEC)), memfd = memory_file(2 * PAGE);
  int fd = -1;
  if (heaps >= 0 && ioctl(heaps, DMA_HEAP_IOCTL_ALLOC, &heap) == 0) return keep((int)heap.fd);
  REQUIRE(CHECK_OK(fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK)));
  memory.memfd = (uint32_t)memfd;
  if (maker >= 0) fd = ioctl(maker, UDMABUF_CREATE, &memory);
  if (fd < 0) SKIP("needs /dev/dma_heap/system or /dev/udmabuf");
  return keep(fd);
}

TEST(F18, "a dma-buf that no device of VFIO has made: EOPNOTSUPP, without a domain too; what is not in it: EINVAL") {
  const int iommufd = open_iommufd(), fd = open_dma_buf();
  const uint32_t ioas = ioas_alloc(iommufd);
  CHECK_ERR(map_at(iommufd, ioas, fd, 0, 0, 0x10000), EINVAL);
  CHECK_ERR(map_at(iommufd, ioas, fd, 2 * PAGE, PAGE, 0x10000), EINVAL);
  CHECK_ERR(map_at(iommufd, ioas, fd, 0, 2 * PAGE + 1, 0x10000), EINVAL);
  CHECK_ERR(map_at(iommufd, ioas, fd, 0, 2 * PAGE, 0x10000), EOPNOTSUPP);
  add_domain(iommufd, ioas, BEHIND_IOMMU);
  CHECK_ERR(map_at(iommufd, ioas, fd, 0, 2 * PAGE, 0x10000), EOPNOTSUPP);
}

static void dma_reaches_file(enum kind kind) {
  const int iommufd = open_iommufd();
  const uint32_t ioas = ioas_alloc(iommufd);
  const struct edu e = edu_open(kind, 0, iommufd);
  const int fd = memory_file(2 * PAGE);
  uint8_t data[PAGE], back[PAGE];
  uint8_t* memory = pages(PAGE);
  uint64_t bus[2] = {0x10000, 0x11000}, third = 0x20000, length;
  REQUIRE(CHECK_OK(attach_to(&e.dev, ioas)));
  REQUIRE(CHECK_OK(map_at(iommufd, ioas, fd, 0, 2 * PAGE, 0x10000)));
  for (int i = 0; i < 2 && kind == NOIOMMU; i++) {
    length = PAGE;
    REQUIRE(CHECK_OK(get_pa(iommufd, ioas, 0x10000 + (uint64_t)i * PAGE, &length, &bus[i])));
  }
  fill(data, PAGE, 6);
  REQUIRE(CHECK_EQ(pwrite(fd, data, PAGE, 0), PAGE)); /* after the map: the file is the source, not a copy */
  edu_load(&e, bus[0], PAGE);
  edu_store(&e, bus[1], PAGE);
  CHECK_EQ(pread(fd, back, PAGE, PAGE), PAGE);
  CHECK(memcmp(back, data, PAGE) == 0);
  close_kept(fd); /* the mapping holds the file */
  edu_load(&e, bus[1], PAGE);
  REQUIRE(CHECK_OK(map_fixed(iommufd, ioas, memory, PAGE, 0x20000)));
  length = PAGE;
  if (kind == NOIOMMU) REQUIRE(CHECK_OK(get_pa(iommufd, ioas, 0x20000, &length, &third)));
  edu_store(&e, third, PAGE);
  CHECK(memcmp(memory, data, PAGE) == 0);
}

TEST(F23, "DMA reads and writes the file itself") { dma_reaches_file(BEHIND_IOMMU); }
TEST(F23n, "the same with a noiommu device") { dma_reaches_file(NOIOMMU); }

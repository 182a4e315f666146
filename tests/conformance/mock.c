/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rows of the core sheet that need the mock world of the test ABI: ranges reserved at will, an alignment of half a page, a
 * count of pins, a buffer of a device (spec iommufd-core; rows as in the programs about the same commands).
 */
#define _GNU_SOURCE
#include "test_abi.h"

SECTION("iommufd-core 1.3");

TEST(D06, "a kernel with the test command has a longer table: empty slots read the size, so EFAULT, then ENOTTY") {
  const int fd = open_test_iommufd();
  uint32_t size = 8;
  CHECK_ERR(ioctl(fd, _IO(';', 0x96), NULL), EFAULT);
  CHECK_ERR(ioctl(fd, _IO(';', 0x96), &size), ENOTTY);
  CHECK_ERR(ioctl(fd, _IO(';', 0x9f), NULL), EFAULT);
  CHECK_ERR(ioctl(fd, _IO(';', 0xa1), NULL), ENOTTY);
}

/* ---- reserved ranges --------------------------------------------------------------------------------- */

SECTION("iommufd-core 3.2");

static struct iommu_ioas_iova_ranges ask_ranges(uint32_t ioas, const struct iommu_iova_range* r, uint32_t room) {
  return (struct iommu_ioas_iova_ranges){.size = sizeof(struct iommu_ioas_iova_ranges),
                                         .ioas_id = ioas,
                                         .num_iovas = room,
                                         .allowed_iovas = (uintptr_t)r,
                                         .out_iova_alignment = 7};
}

/* [0x1000, 0x2fff] of a fresh IOAS is reserved, in three pieces that touch and overlap. */
static uint32_t with_reserved(int fd) {
  const uint32_t ioas = ioas_alloc(fd);
  REQUIRE(CHECK_OK(add_reserved(fd, ioas, 0x1000, 0x1000)));
  REQUIRE(CHECK_OK(add_reserved(fd, ioas, 0x2000, 0x1000)));
  REQUIRE(CHECK_OK(add_reserved(fd, ioas, 0x1800, 0x1000)));
  return ioas;
}

TEST_ROWS(R05, "R06",
          "IOVA_RANGES around reserved ranges that touch and overlap: one hole; with room for one and for two") {
  const int fd = open_test_iommufd();
  struct iommu_iova_range r[2] = {{7, 7}, {7, 7}};
  struct iommu_ioas_iova_ranges cmd = ask_ranges(with_reserved(fd), r, 1);
  CHECK_ERR(ioctl(fd, IOMMU_IOAS_IOVA_RANGES, &cmd), EMSGSIZE);
  CHECK_EQ(cmd.num_iovas, 2);
  CHECK_EQ(cmd.out_iova_alignment, 1);
  CHECK_EQ(r[0].start, 0);
  CHECK_EQ(r[0].last, 0xfff);
  CHECK_EQ(r[1].start, 7);
  CHECK_OK(ioctl(fd, IOMMU_IOAS_IOVA_RANGES, &cmd));
  CHECK_EQ(cmd.num_iovas, 2);
  CHECK_EQ(r[1].start, 0x3000);
  CHECK_EQ(r[1].last, MAX);
}

TEST(R07, "IOVA_RANGES with everything reserved: none, and a success without room") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  struct iommu_ioas_iova_ranges cmd = ask_ranges(ioas, NULL, 0);
  REQUIRE(CHECK_OK(add_reserved(fd, ioas, 0, MAX)));
  REQUIRE(CHECK_OK(add_reserved(fd, ioas, MAX, 1)));
  CHECK_OK(ioctl(fd, IOMMU_IOAS_IOVA_RANGES, &cmd));
  CHECK_EQ(cmd.num_iovas, 0);
  CHECK_EQ(cmd.out_iova_alignment, 1);
}

TEST(R08, "IOVA_RANGES into an array that ends too early: EFAULT, its first part is written, the struct is not") {
  const int fd = open_test_iommufd();
  uint8_t* p = pages(2 * PAGE);
  struct iommu_iova_range* r = (struct iommu_iova_range*)(void*)(p + PAGE) - 1;
  struct iommu_ioas_iova_ranges cmd = ask_ranges(with_reserved(fd), r, 5);
  REQUIRE(CHECK_OK(munmap(p + PAGE, PAGE)));
  CHECK_ERR(ioctl(fd, IOMMU_IOAS_IOVA_RANGES, &cmd), EFAULT);
  CHECK_EQ(r->last, 0xfff);
  CHECK_EQ(cmd.num_iovas, 5);
  CHECK_EQ(cmd.out_iova_alignment, 7);
}

SECTION("iommufd-core 3.3");

TEST(A08,
     "ALLOW_IOVAS that touches a reserved byte: EADDRINUSE after all elements were looked at, the old list stays") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = with_reserved(fd);
  const struct iommu_iova_range old = {0x40000, 0x40fff}, last_byte = {0x2fff, 0x4fff}, behind = {0x3000, 0x4fff};
  const struct iommu_iova_range then_bad[2] = {{0x2fff, 0x4fff}, {9, 9}};
  uint64_t iova;
  REQUIRE(CHECK_OK(allow_iovas(fd, ioas, &old, 1)));
  CHECK_ERR(allow_iovas(fd, ioas, then_bad, 2), EINVAL);
  CHECK_ERR(allow_iovas(fd, ioas, &last_byte, 1), EADDRINUSE);
  REQUIRE(CHECK_OK(map_va(fd, ioas, 0x1000, PAGE, &iova)));
  CHECK_EQ(iova, 0x40000);
  CHECK_OK(allow_iovas(fd, ioas, &behind, 1));
}

TEST(A12, "reserving a byte of an allowed range: EADDRINUSE; the byte next to it: ok") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  const struct iommu_iova_range allowed = {0x10000, 0x10fff};
  REQUIRE(CHECK_OK(allow_iovas(fd, ioas, &allowed, 1)));
  CHECK_ERR(add_reserved(fd, ioas, 0x10fff, 1), EADDRINUSE);
  CHECK_ERR(add_reserved(fd, ioas, 0x10000, 1), EADDRINUSE);
  CHECK_OK(add_reserved(fd, ioas, 0x11000, 1));
  CHECK_OK(add_reserved(fd, ioas, 0xffff, 1));
}

/* ---- MAP --------------------------------------------------------------------------------------------- */

SECTION("iommufd-core 3.4");

TEST_ROWS(M20, "M21", "MAP over one reserved byte: EINVAL, also with an area in the way") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  REQUIRE(CHECK_OK(add_reserved(fd, ioas, 0x10800, 1)));
  CHECK_ERR(map_fixed(fd, ioas, NULL, PAGE, 0x10000), EINVAL);
  CHECK_ERR(map_fixed(fd, ioas, NULL, 1, 0x10800), EINVAL);
  CHECK_OK(map_fixed(fd, ioas, NULL, 0x800, 0x10000));
  CHECK_OK(map_fixed(fd, ioas, NULL, PAGE, 0x10801));
  CHECK_ERR(map_fixed(fd, ioas, NULL, PAGE, 0x10000), EINVAL);
}

TEST_ROWS(M14, "M15 M16 M17",
          "MAP with an alignment of half a page: length, IOVA, address, and an area before the address") {
  const struct world w = with_mock();
  uint8_t* memory = pages(2 * PAGE);
  CHECK_ERR(map_fixed(w.fd, w.ioas, memory, 8, APERTURE), EINVAL);
  CHECK_ERR(map_fixed(w.fd, w.ioas, memory, MOCK_PAGE, APERTURE + 1), EINVAL);
  CHECK_ERR(map_fixed(w.fd, w.ioas, memory + 1, MOCK_PAGE, APERTURE), EINVAL);
  CHECK_OK(map_fixed(w.fd, w.ioas, memory + MOCK_PAGE, MOCK_PAGE, APERTURE));
  CHECK_ERR(map_fixed(w.fd, w.ioas, memory + 1, MOCK_PAGE, APERTURE), EEXIST);
}

TEST(M26, "MAP of memory whose second half is missing: EFAULT, nothing is pinned, the IOVA is free") {
  const struct world w = with_mock();
  uint8_t* memory = pages(4 * PAGE);
  REQUIRE(CHECK_OK(munmap(memory + 2 * PAGE, 2 * PAGE)));
  CHECK_ERR(map_fixed(w.fd, w.ioas, memory, 4 * PAGE, APERTURE), EFAULT);
  CHECK_OK(check_refs(w.fd, memory, 2 * PAGE, 0));
  CHECK_ERR(check_map(w.fd, w.mock.hwpt, APERTURE, PAGE, memory), EINVAL);
  CHECK_OK(map_fixed(w.fd, w.ioas, memory, 2 * PAGE, APERTURE));
  CHECK_OK(check_refs(w.fd, memory, 2 * PAGE, 1));
}

TEST(M29, "MAP before the aperture and across its end: EINVAL") {
  const struct world w = with_mock();
  uint8_t* memory = pages(2 * PAGE);
  CHECK_ERR(map_fixed(w.fd, w.ioas, memory, MOCK_PAGE, APERTURE - MOCK_PAGE), EINVAL);
  CHECK_ERR(map_fixed(w.fd, w.ioas, memory, PAGE, APERTURE_LAST + 1ull - MOCK_PAGE), EINVAL);
  CHECK_OK(map_fixed(w.fd, w.ioas, memory, PAGE, APERTURE_LAST + 1ull - PAGE));
}

SECTION("iommufd-core 3.5");

TEST(M24, "automatic IOVA with an alignment of half a page: the place in the page stays; another one is EINVAL") {
  const struct world w = with_mock();
  const uint64_t va = (uintptr_t)pages(2 * PAGE);
  uint64_t iova;
  CHECK_OK(map_va(w.fd, w.ioas, va + MOCK_PAGE, MOCK_PAGE, &iova));
  CHECK_EQ(iova, 0x1000800);
  CHECK_OK(map_va(w.fd, w.ioas, va + MOCK_PAGE, PAGE, &iova));
  CHECK_EQ(iova, 0x1001800);
  CHECK_ERR(map_va(w.fd, w.ioas, va + 1, MOCK_PAGE, &iova), EINVAL);
}

SECTION("iommufd-core 3.7");

TEST(C21, "COPY of slices that fill a multiple of the alignment together, and none alone (quirk Q11)") {
  const struct world w = with_mock();
  const uint32_t source = ioas_alloc(w.fd), plain = ioas_alloc(w.fd);
  uint8_t* memory = pages(2 * PAGE);
  REQUIRE(CHECK_OK(map_fixed(w.fd, source, memory, 100, 0x10000)));
  REQUIRE(CHECK_OK(map_fixed(w.fd, source, memory + PAGE, PAGE - 100, 0x10064)));
  CHECK_ERR(copy_fixed(w.fd, RW, w.ioas, source, PAGE, 0x10000, APERTURE), ENXIO);
  CHECK_OK(check_refs(w.fd, memory, 2 * PAGE, 0));
  CHECK_OK(map_fixed(w.fd, w.ioas, memory, PAGE, APERTURE)); /* nothing is left */
  CHECK_OK(copy_fixed(w.fd, RW, plain, source, PAGE, 0x10000, APERTURE));
  CHECK_OK(unmap(w.fd, plain, APERTURE, 100));
}

/* ---- MAP_FILE ---------------------------------------------------------------------------------------- */

SECTION("iommufd-core 3.6");

static int memory_file(off_t size) {
  const int fd = keep(memfd_create("conformance", MFD_CLOEXEC));
  REQUIRE(CHECK_OK(fd));
  REQUIRE(CHECK_OK(ftruncate(fd, size)));
  return fd;
}

TEST_ROWS(F12, "F13", "MAP_FILE whose last page is not all in the file: EINVAL, until the file grows") {
  const struct world w = with_mock();
  const int large = memory_file(0x3000), small = memory_file(MOCK_PAGE);
  CHECK_ERR(map_file_fixed(w.fd, w.ioas, large, 0x2000, 0x1800, APERTURE), EINVAL);
  CHECK_OK(map_file_fixed(w.fd, w.ioas, large, 0x1000, 0x1800, APERTURE));
  CHECK_ERR(map_file_fixed(w.fd, w.ioas, small, 0, MOCK_PAGE, APERTURE + 0x10000), EINVAL);
  REQUIRE(CHECK_OK(ftruncate(small, PAGE)));
  CHECK_OK(map_file_fixed(w.fd, w.ioas, small, 0, MOCK_PAGE, APERTURE + 0x10000));
}

TEST_ROWS(F14, "F15", "MAP_FILE from half a page on, with that alignment: ok; from one byte further: EINVAL") {
  const struct world w = with_mock();
  const int fd = memory_file(4 * PAGE);
  CHECK_OK(map_file_fixed(w.fd, w.ioas, fd, MOCK_PAGE, PAGE, APERTURE));
  CHECK_ERR(map_file_fixed(w.fd, w.ioas, fd, MOCK_PAGE + 1, PAGE, APERTURE + 0x10000), EINVAL);
}

/* ---- a buffer of a device ---------------------------------------------------------------------------- */

static int map_buffer(int fd, uint32_t ioas, uint64_t size, uint64_t iova) {
  const int buffer = keep(word_op(fd, OP_DMABUF_GET, 0, (uint32_t)size, O_CLOEXEC));
  REQUIRE(CHECK_OK(buffer));
  REQUIRE(CHECK_OK(map_file_fixed(fd, ioas, buffer, 0, size, iova)));
  return buffer;
}

SECTION("iommufd-core 3.10");

TEST(P02, "CHANGE_PROCESS with a buffer of a device mapped, in whichever IOAS: EINVAL") {
  const int fd = open_test_iommufd();
  const uint32_t files = ioas_alloc(fd), other = ioas_alloc(fd);
  struct iommu_ioas_change_process cmd = {.size = sizeof(cmd)};
  REQUIRE(CHECK_OK(map_file_fixed(fd, files, memory_file(PAGE), 0, PAGE, 0x10000)));
  CHECK_OK(ioctl(fd, IOMMU_IOAS_CHANGE_PROCESS, &cmd));
  map_buffer(fd, other, PAGE, 0x10000);
  CHECK_ERR(ioctl(fd, IOMMU_IOAS_CHANGE_PROCESS, &cmd), EINVAL);
  REQUIRE(CHECK_OK(unmap(fd, other, 0x10000, PAGE)));
  CHECK_OK(ioctl(fd, IOMMU_IOAS_CHANGE_PROCESS, &cmd));
}

SECTION("iommufd-core 4.7");

TEST(T23, "UNMAP_DMA of a part of a buffer, version 1: EOPNOTSUPP, struct as it was; all of it: ok") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  struct iommu_vfio_ioas compat = {.size = sizeof(compat), .ioas_id = ioas, .op = IOMMU_VFIO_IOAS_SET};
  struct vfio_iommu_type1_dma_unmap cmd = {.argsz = sizeof(cmd), .iova = 0x10000, .size = PAGE};
  REQUIRE(CHECK_OK(ioctl(fd, IOMMU_VFIO_IOAS, &compat)));
  REQUIRE(CHECK_OK(ioctl(fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU)));
  map_buffer(fd, ioas, 4 * PAGE, 0x10000);
  CHECK_ERR(ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &cmd), EOPNOTSUPP);
  CHECK_EQ(cmd.size, PAGE);
  cmd.iova = 0x13000;
  CHECK_ERR(ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &cmd), EOPNOTSUPP);
  CHECK_EQ(cmd.size, PAGE);
  cmd.iova = 0x10000;
  cmd.size = 4 * PAGE;
  CHECK_OK(ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &cmd));
  CHECK_EQ(cmd.size, 4 * PAGE);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* COPY and UNMAP (spec iommufd-core 3.7 and 3.8, rows C of 7.5 and U of 7.6). */
#define _GNU_SOURCE
#include "space.h"

static uint8_t scratch[PAGE] __attribute__((aligned(4096)));

/* ---- COPY -------------------------------------------------------------------------------------------- */

SECTION("iommufd-core 3.7");

/* 4 pages at 0x10000, writeable and readable. */
static struct space with_source(void) {
  const struct space s = fresh();
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, pages(4 * PAGE), 4 * PAGE, 0x10000)));
  return s;
}

TEST(C01, "COPY: unknown flag first: EOPNOTSUPP") {
  CHECK_ERR(copy_fixed(open_iommufd(), 8, NO_ID, NO_ID, MAX, 0, 0), EOPNOTSUPP);
}

TEST(C02, "COPY: length or either IOVA 2^64-1: EOVERFLOW") {
  CHECK_ERR(copy_fixed(open_iommufd(), 0, NO_ID, NO_ID, MAX, 0, 0), EOVERFLOW);
  CHECK_ERR(copy_fixed(open_iommufd(), 0, NO_ID, NO_ID, 0, MAX, 0), EOVERFLOW);
  CHECK_ERR(copy_fixed(open_iommufd(), 0, NO_ID, NO_ID, 0, 0, MAX), EOVERFLOW);
}

TEST(C03, "COPY: neither readable nor writeable: EINVAL") {
  CHECK_ERR(copy_fixed(open_iommufd(), 0, NO_ID, NO_ID, PAGE, 0, 0), EINVAL);
}

TEST(C04, "COPY: bad source before length 0: ENOENT") {
  CHECK_ERR(copy_fixed(open_iommufd(), RW, NO_ID, NO_ID, 0, 0, 0), ENOENT);
}

TEST(C05, "COPY: length 0: EINVAL") {
  const struct space s = with_source();
  CHECK_ERR(copy_fixed(s.iommufd, RW, NO_ID, s.ioas, 0, 0x10000, 0), EINVAL);
}

TEST(C06, "COPY: the source wraps: EOVERFLOW") {
  const struct space s = with_source();
  CHECK_ERR(copy_fixed(s.iommufd, RW, NO_ID, s.ioas, PAGE, MAX - 1, 0), EOVERFLOW);
}

TEST(C07, "COPY: nothing at the source, before a bad destination: ENOENT") {
  const struct space s = with_source();
  CHECK_ERR(copy_fixed(s.iommufd, RW, NO_ID, s.ioas, PAGE, 0x90000, 0), ENOENT);
}

TEST(C08, "COPY: a hole in the source: ENOENT") {
  const struct space s = with_source();
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, pages(PAGE), PAGE, 0x15000)));
  CHECK_ERR(copy_fixed(s.iommufd, RW, s.ioas, s.ioas, 6 * PAGE, 0x10000, 0x90000), ENOENT);
  CHECK_ERR(copy_fixed(s.iommufd, RW, s.ioas, s.ioas, PAGE, 0xf800, 0x90000), ENOENT);
}

TEST(C09, "COPY: bad destination: ENOENT") {
  const struct space s = with_source();
  CHECK_ERR(copy_fixed(s.iommufd, RW, NO_ID, s.ioas, PAGE, 0x10000, 0), ENOENT);
}

TEST(C10, "COPY: writeable from memory mapped without it: EPERM") {
  const struct space s = fresh();
  uint64_t iova = 0x10000;
  REQUIRE(CHECK_OK(map_full(s.iommufd, s.ioas, IOMMU_IOAS_MAP_READABLE | FIXED, (uintptr_t)scratch, PAGE, &iova)));
  CHECK_ERR(copy_fixed(s.iommufd, IOMMU_IOAS_MAP_WRITEABLE, s.ioas, s.ioas, PAGE, iova, 0x90000), EPERM);
  CHECK_OK(copy_fixed(s.iommufd, IOMMU_IOAS_MAP_READABLE, s.ioas, s.ioas, PAGE, iova, 0x90000));
}

TEST(C11, "COPY: two slices, one not writeable: EPERM, the destination is free again") {
  const struct space s = fresh();
  uint64_t iova = 0x11000;
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, pages(PAGE), PAGE, 0x10000)));
  REQUIRE(CHECK_OK(map_full(s.iommufd, s.ioas, IOMMU_IOAS_MAP_READABLE | FIXED, (uintptr_t)scratch, PAGE, &iova)));
  CHECK_ERR(copy_fixed(s.iommufd, RW, s.ioas, s.ioas, 2 * PAGE, 0x10000, 0x90000), EPERM);
  CHECK_OK(map_fixed(s.iommufd, s.ioas, scratch, 2 * PAGE, 0x90000));
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, pages(PAGE), PAGE, 0x12000)));
  CHECK_ERR(copy_fixed(s.iommufd, RW, s.ioas, s.ioas, 2 * PAGE, 0x11000, 0xa0000), EPERM); /* the first */
  CHECK_OK(map_fixed(s.iommufd, s.ioas, scratch, 2 * PAGE, 0xa0000));
}

TEST(C12, "COPY: readable from memory mapped writeable only: ok") {
  const struct space s = fresh();
  uint64_t iova = 0x10000;
  REQUIRE(CHECK_OK(map_full(s.iommufd, s.ioas, IOMMU_IOAS_MAP_WRITEABLE | FIXED, (uintptr_t)scratch, PAGE, &iova)));
  CHECK_OK(copy_fixed(s.iommufd, IOMMU_IOAS_MAP_READABLE, s.ioas, s.ioas, PAGE, iova, 0x90000));
}

TEST(C13, "COPY: part of an area, not aligned, alignment 1: ok") {
  const struct space s = with_source();
  CHECK_OK(copy_fixed(s.iommufd, RW, s.ioas, s.ioas, 100, 0x10007, 0x90003));
}

TEST(C13n, "COPY into an IOAS with alignment P: EINVAL for a length, and for a place in a page") {
  const struct space s = with_source();
  const uint32_t dst = ioas_alloc(s.iommufd);
  add_domain(s.iommufd, dst, NOIOMMU);
  CHECK_ERR(copy_fixed(s.iommufd, RW, dst, s.ioas, 100, 0x10000, 0x90000), EINVAL);
  CHECK_ERR(copy_fixed(s.iommufd, RW, dst, s.ioas, PAGE, 0x10800, 0x90000), EINVAL);
  CHECK_ERR(copy_fixed(s.iommufd, RW, dst, s.ioas, PAGE, 0x10000, 0x90800), EINVAL);
  CHECK_OK(copy_fixed(s.iommufd, RW, dst, s.ioas, PAGE, 0x11000, 0x90000));
}

TEST(C14, "COPY: the destination is taken: EEXIST") {
  const struct space s = with_source();
  CHECK_ERR(copy_fixed(s.iommufd, RW, s.ioas, s.ioas, PAGE, 0x10000, 0x13000), EEXIST);
}

TEST(C15, "COPY of two areas makes two slices, and they can be unmapped one by one") {
  const struct space s = with_source();
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, pages(4 * PAGE), 4 * PAGE, 0x14000)));
  REQUIRE(CHECK_OK(copy_fixed(s.iommufd, RW, s.ioas, s.ioas, 4 * PAGE, 0x12000, 0x90000)));
  CHECK_ERR(unmap(s.iommufd, s.ioas, 0x90000, PAGE), ENOENT); /* a slice cannot be split */
  CHECK_OK(unmap(s.iommufd, s.ioas, 0x90000, 2 * PAGE));
  CHECK_OK(unmap(s.iommufd, s.ioas, 0x92000, 2 * PAGE));
}

TEST(C16, "COPY: automatic IOVA takes its alignment from the memory of the first slice") {
  const struct space s = fresh();
  uint64_t iova = 0;
  REQUIRE(CHECK_OK(map_raw(s.iommufd, RW | FIXED, s.ioas, 0x40000000, 0x400000, 0x1000)));
  REQUIRE(CHECK_OK(copy_full(s.iommufd, RW, s.ioas, s.ioas, 0x200000, 0x201000, &iova)));
  CHECK_EQ(iova, 0x600000);
  iova = 0;
  REQUIRE(CHECK_OK(copy_full(s.iommufd, RW, s.ioas, s.ioas, 0x1000, 0x202000, &iova)));
  CHECK_EQ(iova, 0x401000);
}

TEST(C16f, "COPY: automatic IOVA of a file takes its alignment from the place in the file") {
  const struct space s = fresh();
  const int fd = keep(memfd_create("copy", MFD_CLOEXEC));
  struct iommu_ioas_map_file file = {
      .size = sizeof(file), .flags = RW | FIXED, .ioas_id = s.ioas, .fd = fd, .length = 0x400000, .iova = 0x1000};
  uint64_t iova = 0;
  REQUIRE(CHECK_OK(ftruncate(fd, 0x400000)));
  REQUIRE(CHECK_OK(ioctl(s.iommufd, IOMMU_IOAS_MAP_FILE, &file)));
  REQUIRE(CHECK_OK(copy_full(s.iommufd, RW, ioas_alloc(s.iommufd), s.ioas, 0x200000, 0x201000, &iova)));
  CHECK_EQ(iova, 0x200000);
}

TEST(C17, "COPY within one IOAS; the copy lives on after the source") {
  const struct space s = with_source();
  CHECK_OK(copy_fixed(s.iommufd, RW, s.ioas, s.ioas, 4 * PAGE, 0x10000, 0x90000));
  CHECK_OK(unmap(s.iommufd, s.ioas, 0x10000, 4 * PAGE));
  CHECK_OK(copy_fixed(s.iommufd, RW, s.ioas, s.ioas, PAGE, 0x93000, 0x10000));
}

/* ---- UNMAP ------------------------------------------------------------------------------------------- */

/* Two things are wrong at a time; the one that is looked at first decides. The destination has an alignment of P. */
TEST(C19, "COPY: the order of the checks behind the source") {
  const struct space s = with_source();
  const uint32_t dst = ioas_alloc(s.iommufd);
  const struct {
    uint32_t flags;
    uint64_t length, from, to;
    int want;
  } rows[] = {
      {RW, 100, 0x10000, 0x90000, EINVAL},             /* 10 length, 11 destination taken */
      {RW, 100, 0x10000, 0x90001, EINVAL},             /* 10, 11 misaligned */
      {RW, PAGE, 0x10000, 0xfffffffffffff001, EINVAL}, /* 11: misaligned, wraps */
      {RW, 2 * PAGE, 0x10000, 0xfffffffffffff000, EOVERFLOW},
      {RW, PAGE, 0x20000, 0x90000, EEXIST},     /* 11 destination taken, 12 not writeable */
      {RW, PAGE, 0x10800, 0x90000, EEXIST},     /* 11, 13 place in the page */
      {RW, PAGE, 0x20800, 0xa0000, EPERM},      /* 12, 13 of one slice */
      {RW, 2 * PAGE, 0x10800, 0xa0000, EINVAL}, /* 13 */
      {RW, PAGE, 0x30000, 0x90000, EEXIST},     /* 11, 14 memory that is not there */
      {RW, PAGE, 0x30000, 0xa0000, EFAULT},     /* 14 */
  };
  uint64_t iova = 0x20000;
  add_domain(s.iommufd, dst, BEHIND_IOMMU);
  REQUIRE(CHECK_OK(
      map_full(s.iommufd, s.ioas, IOMMU_IOAS_MAP_READABLE | FIXED, (uintptr_t)pages(2 * PAGE), 2 * PAGE, &iova)));
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, no_page(), PAGE, 0x30000)));
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, dst, pages(PAGE), PAGE, 0x90000)));
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
    if (!CHECK_ERR(copy_fixed(s.iommufd, rows[i].flags, dst, s.ioas, rows[i].length, rows[i].from, rows[i].to),
                   rows[i].want))
      note("line %zu", i + 1);
  CHECK_OK(copy_fixed(s.iommufd, RW, dst, s.ioas, 4 * PAGE, 0x10000, 0xa0000)); /* nothing is left of the others */
}

TEST(C20, "COPY whose struct cannot be written: EFAULT, and the mapping stays") {
  const struct space s = with_source();
  const struct iommu_ioas_copy cmd = {.size = sizeof(cmd),
                                      .flags = RW | FIXED,
                                      .dst_ioas_id = s.ioas,
                                      .src_ioas_id = s.ioas,
                                      .length = PAGE,
                                      .dst_iova = 0x90000,
                                      .src_iova = 0x10000};
  CHECK_ERR(ioctl(s.iommufd, IOMMU_IOAS_COPY, read_only(&cmd, sizeof(cmd))), EFAULT);
  CHECK_OK(unmap(s.iommufd, s.ioas, 0x90000, PAGE));
}

SECTION("iommufd-core 3.8");

TEST(U01, "UNMAP: bad id first: ENOENT") { CHECK_ERR(unmap(open_iommufd(), NO_ID, MAX, MAX), ENOENT); }

TEST_ROWS(U02, "U03", "UNMAP: IOVA or length 2^64-1: EOVERFLOW") {
  const struct space s = fresh();
  CHECK_ERR(unmap(s.iommufd, s.ioas, 1, MAX), EOVERFLOW);
  CHECK_ERR(unmap(s.iommufd, s.ioas, MAX, 1), EOVERFLOW); /* U03 */
  CHECK_ERR(unmap(s.iommufd, s.ioas, MAX, 0), EOVERFLOW); /* before the length of 0 */
}

TEST(U04, "UNMAP: length 0: EINVAL") {
  const struct space s = fresh();
  CHECK_ERR(unmap(s.iommufd, s.ioas, 0x1000, 0), EINVAL);
}

TEST(U05, "UNMAP: the range wraps: EOVERFLOW") {
  const struct space s = fresh();
  CHECK_ERR(unmap(s.iommufd, s.ioas, MAX - 1, 3), EOVERFLOW);
}

TEST(U06, "UNMAP of everything in an empty IOAS: ok, length 0") {
  const struct space s = fresh();
  uint64_t length = MAX;
  CHECK_OK(unmap_full(s.iommufd, s.ioas, 0, &length));
  CHECK_EQ(length, 0);
}

TEST(U07, "UNMAP of one byte less than everything in an empty IOAS: ENOENT") {
  const struct space s = fresh();
  CHECK_ERR(unmap(s.iommufd, s.ioas, 0, MAX - 1), ENOENT);
}

TEST(U08, "UNMAP of nothing: ENOENT") {
  const struct space s = with_source();
  CHECK_ERR(unmap(s.iommufd, s.ioas, 0x90000, PAGE), ENOENT);
}

TEST(U09, "UNMAP of part of an area: ENOENT, the area stays") {
  const struct space s = with_source();
  CHECK_ERR(unmap(s.iommufd, s.ioas, 0x10000, PAGE), ENOENT);
  CHECK_ERR(unmap(s.iommufd, s.ioas, 0x13000, PAGE), ENOENT);
  CHECK_ERR(unmap(s.iommufd, s.ioas, 0x11000, PAGE), ENOENT);
  CHECK_OK(unmap(s.iommufd, s.ioas, 0x10000, 4 * PAGE));
}

TEST(U10, "UNMAP over one area and part of the next: ENOENT, the first is gone, length untouched") {
  const struct space s = fresh();
  uint64_t length = 0x11000;
  REQUIRE(CHECK_OK(map_raw(s.iommufd, RW | FIXED, s.ioas, 0, 0x1000, 0x10000)));
  REQUIRE(CHECK_OK(map_raw(s.iommufd, RW | FIXED, s.ioas, 0, 0x2000, 0x20000)));
  CHECK_ERR(unmap_full(s.iommufd, s.ioas, 0x10000, &length), ENOENT);
  CHECK_EQ(length, 0x11000);
  CHECK_OK(map_raw(s.iommufd, RW | FIXED, s.ioas, 0, 0x1000, 0x10000));
  CHECK_ERR(map_raw(s.iommufd, RW | FIXED, s.ioas, 0, 0x1000, 0x20000), EEXIST);
}

TEST(U11, "UNMAP of a superset with gaps: ok, length is the sum") {
  const struct space s = fresh();
  uint64_t length = 0x100000;
  REQUIRE(CHECK_OK(map_raw(s.iommufd, RW | FIXED, s.ioas, 0, 0x1000, 0x10000)));
  REQUIRE(CHECK_OK(map_raw(s.iommufd, RW | FIXED, s.ioas, 0, 0x2000, 0x20000)));
  REQUIRE(CHECK_OK(map_raw(s.iommufd, RW | FIXED, s.ioas, 0, 5, 0x30001)));
  CHECK_OK(unmap_full(s.iommufd, s.ioas, 0x8000, &length));
  CHECK_EQ(length, 0x3005);
}

TEST(U11m, "UNMAP of everything: ok, length is the sum") {
  const struct space s = with_source();
  uint64_t length = MAX;
  REQUIRE(CHECK_OK(map_raw(s.iommufd, RW | FIXED, s.ioas, 0, PAGE, 0xfffffffffffff000)));
  CHECK_OK(unmap_full(s.iommufd, s.ioas, 0, &length));
  CHECK_EQ(length, 5 * PAGE);
}

TEST(U16, "neighbouring maps do not merge") {
  const struct space s = fresh();
  uint8_t* memory = pages(2 * PAGE);
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, memory, PAGE, 0x10000)));
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, memory + PAGE, PAGE, 0x11000)));
  CHECK_OK(unmap(s.iommufd, s.ioas, 0x11000, PAGE));
  CHECK_OK(unmap(s.iommufd, s.ioas, 0x10000, PAGE));
}

TEST(U17, "UNMAP whose struct cannot be written: EFAULT, and the mapping is gone") {
  const struct space s = with_source();
  const struct iommu_ioas_unmap cmd = {.size = sizeof(cmd), .ioas_id = s.ioas, .iova = 0x10000, .length = 4 * PAGE};
  CHECK_ERR(ioctl(s.iommufd, IOMMU_IOAS_UNMAP, read_only(&cmd, sizeof(cmd))), EFAULT);
  CHECK_OK(map_fixed(s.iommufd, s.ioas, scratch, PAGE, 0x10000));
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MAP with chosen and automatic IOVAs (spec iommufd-core 3.4 and 3.5, rows M of 7.3). Rows marked "domain" in the sheet run
 * behind an IOMMU, and those with a trailing n also with the software table of a device without one.
 */
#define _GNU_SOURCE
#include "space.h"

static uint8_t scratch[PAGE] __attribute__((aligned(4096)));

/* ---- MAP: checks in order ---------------------------------------------------------------------------- */

SECTION("iommufd-core 3.4");

TEST(M01, "MAP: unknown flag first: EOPNOTSUPP") {
  CHECK_ERR(map_raw(open_iommufd(), 8, NO_ID, 0, 0, MAX), EOPNOTSUPP);
}

TEST(M02, "MAP: reserved: EOPNOTSUPP") {
  struct iommu_ioas_map cmd = {.size = sizeof(cmd), .flags = RW, .ioas_id = NO_ID, .__reserved = 1, .iova = MAX};
  CHECK_ERR(ioctl(open_iommufd(), IOMMU_IOAS_MAP, &cmd), EOPNOTSUPP);
}

TEST(M03, "MAP: IOVA 2^64-1, fixed or not: EOVERFLOW") {
  CHECK_ERR(map_raw(open_iommufd(), FIXED, NO_ID, 0, PAGE, MAX), EOVERFLOW);
  CHECK_ERR(map_raw(open_iommufd(), 0, NO_ID, 0, PAGE, MAX), EOVERFLOW);
}

TEST(M04, "MAP: length 2^64-1: EOVERFLOW") { CHECK_ERR(map_raw(open_iommufd(), 0, NO_ID, 0, MAX, 0), EOVERFLOW); }

TEST(M05, "MAP: neither readable nor writeable: EINVAL") {
  CHECK_ERR(map_raw(open_iommufd(), FIXED, NO_ID, 0, PAGE, 0), EINVAL);
}

TEST(M06, "MAP: bad id: ENOENT") {
  CHECK_ERR(map_raw(open_iommufd(), RW, NO_ID, MAX - 10, 11, 0), ENOENT);
  CHECK_ERR(map_raw(open_iommufd(), RW, 0, 0, 0, 0), ENOENT);
}

TEST(M07, "MAP: user_va + length is 2^64: EOVERFLOW") {
  const struct space s = fresh();
  CHECK_ERR(map_raw(s.iommufd, RW, s.ioas, MAX - 10, 11, 0), EOVERFLOW);
  CHECK_ERR(map_raw(s.iommufd, RW, s.ioas, MAX - 10, 5000, 0), EOVERFLOW);
}

TEST(M08, "MAP: one byte less, without a domain: ok") {
  const struct space s = fresh();
  CHECK_OK(map_raw(s.iommufd, RW, s.ioas, MAX - 11, 11, 0));
}

TEST(M09, "MAP: length 0: EINVAL") {
  const struct space s = fresh();
  CHECK_ERR(map_raw(s.iommufd, RW, s.ioas, 0, 0, 0), EINVAL);
}

TEST(M10, "MAP: length above 2^64-1-P: EINVAL") {
  const struct space s = fresh();
  CHECK_ERR(map_raw(s.iommufd, RW, s.ioas, 0, MAX - PAGE + 1, 0), EINVAL);
}

TEST(M11, "MAP: automatic with length 2^64-1-P: EOVERFLOW") {
  const struct space s = fresh();
  CHECK_ERR(map_raw(s.iommufd, RW, s.ioas, 0, MAX - PAGE, 0), EOVERFLOW);
}

TEST(M12, "MAP: automatic with length 2^63-1: EOVERFLOW") {
  const struct space s = fresh();
  CHECK_ERR(map_raw(s.iommufd, RW, s.ioas, 0, 0x7fffffffffffffff, 0), EOVERFLOW);
}

TEST(M13, "MAP: automatic with length 2^63-2 from address 0: at 2 MiB") {
  const struct space s = fresh();
  uint64_t iova;
  REQUIRE(CHECK_OK(map_va(s.iommufd, s.ioas, 0, 0x7ffffffffffffffe, &iova)));
  CHECK_EQ(iova, 0x200000);
}

static void map_with_domain(enum kind kind) {
  const struct space s = with_domain(kind);
  const uint64_t va = (uintptr_t)pages(2 * PAGE);
  uint64_t iova;
  CHECK_ERR(map_va(s.iommufd, s.ioas, va, 8, &iova), EINVAL);                       /* M14 */
  CHECK_ERR(map_raw(s.iommufd, RW | FIXED, s.ioas, va, PAGE, 0x10001), EINVAL);     /* M15 */
  CHECK_ERR(map_raw(s.iommufd, RW | FIXED, s.ioas, va + 1, PAGE, 0x10000), EINVAL); /* M16 */
  REQUIRE(CHECK_OK(map_raw(s.iommufd, RW | FIXED, s.ioas, va, PAGE, 0x10000)));
  CHECK_ERR(map_raw(s.iommufd, RW | FIXED, s.ioas, va + 1, PAGE, 0x10000), EEXIST); /* M17 */
  CHECK_ERR(map_va(s.iommufd, s.ioas, va + 1, PAGE, &iova), EINVAL); /* a misaligned address, automatic */
}

TEST_ROWS(M14, "M15 M16 M17", "MAP with alignment P: length, IOVA, address, and an area before the address") {
  map_with_domain(BEHIND_IOMMU);
}
TEST(M14n, "the same with a noiommu HWPT") { map_with_domain(NOIOMMU); }

TEST(M18, "MAP: the range wraps: EOVERFLOW") {
  const struct space s = fresh();
  CHECK_ERR(map_raw(s.iommufd, RW | FIXED, s.ioas, 0, 0x1000, 0xfffffffffffff001), EOVERFLOW);
}

TEST(M19, "MAP: the last page of the address space: ok") {
  const struct space s = fresh();
  CHECK_OK(map_raw(s.iommufd, RW | FIXED, s.ioas, 0, 0x1000, 0xfffffffffffff000));
}

TEST_ROWS(M20, "M21", "MAP over reserved: EINVAL, also when an area is in the way") {
  const struct window w = interrupt_window();
  const struct space s = fresh();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, s.iommufd);
  uint8_t* memory = pages(4 * PAGE);
  REQUIRE(CHECK_OK(attach_to(&d, s.ioas)));
  CHECK_ERR(map_fixed(s.iommufd, s.ioas, memory, PAGE, w.start), EINVAL);
  CHECK_ERR(map_fixed(s.iommufd, s.ioas, memory, 2 * PAGE, w.start - PAGE), EINVAL);
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, memory, PAGE, w.start - PAGE)));
  CHECK_ERR(map_fixed(s.iommufd, s.ioas, memory, 2 * PAGE, w.start - PAGE), EINVAL); /* M21 */
  CHECK_OK(map_fixed(s.iommufd, s.ioas, memory, PAGE, w.last + 1));
}

TEST(M22, "MAP over an area, any overlap: EEXIST") {
  const struct space s = fresh();
  REQUIRE(CHECK_OK(map_raw(s.iommufd, RW | FIXED, s.ioas, 0, 0x3000, 0x10000)));
  CHECK_ERR(map_raw(s.iommufd, RW | FIXED, s.ioas, 0, 0x3000, 0x10000), EEXIST);
  CHECK_ERR(map_raw(s.iommufd, RW | FIXED, s.ioas, 0, 1, 0x12fff), EEXIST);
  CHECK_ERR(map_raw(s.iommufd, RW | FIXED, s.ioas, 0, 0x1001, 0xf000), EEXIST);
  CHECK_ERR(map_raw(s.iommufd, RW | FIXED, s.ioas, 0, 0x100000, 0), EEXIST);
  CHECK_OK(map_raw(s.iommufd, RW | FIXED, s.ioas, 0, 0x1000, 0xf000));
  CHECK_OK(map_raw(s.iommufd, RW | FIXED, s.ioas, 0, 0x1000, 0x13000));
}

TEST(M23, "MAP at IOVA 0: ok; automatic IOVAs never go there") {
  const struct space s = fresh();
  CHECK_OK(map_raw(s.iommufd, RW | FIXED, s.ioas, 0x1000, 0x1000, 0));
}

/* ---- MAP: automatic IOVA, the whole table of section 3.5 --------------------------------------------- */

static const struct {
  uint64_t va, length, alone, in_sequence;
} automatic[] = {
    {0x7f0000201000, 0x3000, 0x1000, 0x1000},
    {0x7f0000200000, 0x300000, 0x200000, 0x200000},
    {0, 5, 0x1000, 0x4000},
    {0x801, 1, 0x1801, 0x4805},
    {0x801, 1, 0x1801, 0x4807},
    {0x80000800, 0x100, 0x1800, 0x4900},
    {0x80000800, 0x100, 0x1800, 0x4a00},
    {0x80000000, 0x1000, 0x1000, 0x5000},
    {0x80000000, 0x2000, 0x2000, 0x6000},
    {0x80000000, 0x3000, 0x4000, 0x8000},
    {0x80001000, 0x3000, 0x1000, 0xb000},
    {0x80000000, 0x200000, 0x200000, 0x600000},
    {0x80000000, 0x200001, 0x200000, 0x800000},
    {0x40000000, 0x40000000, 0x200000, 0xc00000},
    {0x80000c00, 0x400, 0x1c00, 0x4c00},
    {0x80000fff, 2, 0x1fff, 0xefff},
    {0x80000fff, 2, 0x1fff, 0xffff},
    {0, 0x1000, 0x1000, 0x11000},
    {0, 0x3000, 0x4000, 0x14000},
    {0, 0x7ffffffffffffe, 0x200000, 0x40c00000},
};
#define NUM_AUTOMATIC (sizeof(automatic) / sizeof(automatic[0]))

SECTION("iommufd-core 3.5");

TEST(M24, "automatic IOVA, each request on a fresh IOAS") {
  const int iommufd = open_iommufd();
  for (size_t i = 0; i < NUM_AUTOMATIC; i++) {
    const uint32_t ioas = ioas_alloc(iommufd);
    uint64_t iova;
    if (!CHECK_OK(map_va(iommufd, ioas, automatic[i].va, automatic[i].length, &iova))) continue;
    if (!CHECK_EQ(iova, automatic[i].alone)) note("line %zu", i + 1);
  }
}

TEST(M24s, "automatic IOVA, all requests in sequence") {
  const struct space s = fresh();
  for (size_t i = 0; i < NUM_AUTOMATIC; i++) {
    uint64_t iova;
    if (!CHECK_OK(map_va(s.iommufd, s.ioas, automatic[i].va, automatic[i].length, &iova))) continue;
    if (!CHECK_EQ(iova, automatic[i].in_sequence)) note("line %zu", i + 1);
  }
}

/* Maps `length` at `va` under one allowed range; returns the IOVA, or 0 with errno. */
static uint64_t map_allowed(const struct space* s, uint64_t va, uint64_t length) {
  uint64_t iova;
  return map_va(s->iommufd, s->ioas, va, length, &iova) < 0 ? 0 : iova;
}

static struct space allowed(uint64_t start, uint64_t last) {
  const struct space s = fresh();
  const struct iommu_iova_range r = {start, last};
  REQUIRE(CHECK_OK(allow_iovas(s.iommufd, s.ioas, &r, 1)));
  return s;
}

TEST(M24a, "automatic IOVA: the last byte of a window cannot be taken by one byte") {
  const struct space s = allowed(0x5000, 0x5001), t = allowed(0x5000, 0x5001);
  CHECK_EQ(map_allowed(&s, 1, 1), 0);
  CHECK_EQ(errno, ENOSPC);
  CHECK_EQ(map_allowed(&t, 0x2000, 1), 0x5000);
}

TEST(M24b, "automatic IOVA: a window of one page holds one page") {
  const struct space s = allowed(0x5000, 0x5fff);
  CHECK_EQ(map_allowed(&s, 0x2000, 0x1000), 0x5000);
  CHECK_EQ(map_allowed(&s, 0x2000, 0x1000), 0);
  CHECK_EQ(errno, ENOSPC);
}

TEST(M24c, "automatic IOVA: never below P") {
  const struct space s = allowed(0, 0x1fff);
  CHECK_EQ(map_allowed(&s, 0x2000, 0x1000), 0x1000);
  CHECK_EQ(map_allowed(&s, 0x2000, 0x1000), 0);
  CHECK_EQ(errno, ENOSPC);
}

TEST(M24d, "automatic IOVA: never in the last page, and reaches the one before") {
  const struct space s = allowed(0xfffffffffffef000, MAX);
  for (uint64_t i = 0; i < 15; i++) CHECK_EQ(map_allowed(&s, 0x2000, 0x1000), 0xfffffffffffef000 + i * 0x1000);
  CHECK_EQ(map_allowed(&s, 0x2000, 0x1000), 0xffffffffffffe000);
  CHECK_EQ(map_allowed(&s, 0x2000, 0x1000), 0);
  CHECK_EQ(errno, ENOSPC);
}

TEST(M24e, "automatic IOVA: touching allowed ranges are one window, and gaps are used again") {
  const struct space s = fresh();
  const struct iommu_iova_range r[2] = {{0x6000, 0x6fff}, {0x5000, 0x5fff}};
  REQUIRE(CHECK_OK(allow_iovas(s.iommufd, s.ioas, r, 2)));
  CHECK_EQ(map_allowed(&s, 0x7000, 0x2000), 0x5000);
  REQUIRE(CHECK_OK(unmap(s.iommufd, s.ioas, 0x5000, 0x2000)));
  CHECK_EQ(map_allowed(&s, 0x7000, 0x1000), 0x5000);
  CHECK_EQ(map_allowed(&s, 0x7000, 0x1000), 0x6000);
}

/* ---- MAP with a domain: memory ----------------------------------------------------------------------- */

SECTION("iommufd-core 3.4");

static void map_bad_memory(enum kind kind) {
  const struct space s = with_domain(kind);
  uint8_t* memory = pages(2 * PAGE);
  uint8_t* constant = pages(PAGE);
  uint64_t iova = 0x30000;
  CHECK_ERR(map_fixed(s.iommufd, s.ioas, no_page(), PAGE, 0x10000), EFAULT);
  CHECK_OK(map_fixed(s.iommufd, s.ioas, memory, PAGE, 0x10000)); /* the IOVA is free again */
  REQUIRE(CHECK_OK(mprotect(memory + PAGE, PAGE, PROT_NONE)));
  CHECK_ERR(map_fixed(s.iommufd, s.ioas, memory, 2 * PAGE, 0x20000), EFAULT); /* M26 */
  REQUIRE(CHECK_OK(munmap(memory + PAGE, PAGE)));
  CHECK_ERR(map_fixed(s.iommufd, s.ioas, memory, 2 * PAGE, 0x20000), EFAULT);
  CHECK_ERR(map_raw(s.iommufd, RW | FIXED, s.ioas, 0xffff800000000000, PAGE, 0x20000), EFAULT);
  REQUIRE(CHECK_OK(mprotect(constant, PAGE, PROT_READ)));
  CHECK_ERR(map_fixed(s.iommufd, s.ioas, constant, PAGE, iova), EFAULT); /* M27 */
  CHECK_OK(map_full(s.iommufd, s.ioas, IOMMU_IOAS_MAP_READABLE | FIXED, (uintptr_t)constant, PAGE, &iova));
}

TEST_ROWS(M25, "M26 M27", "MAP of memory that is not there, or not writeable: EFAULT, the IOVA stays free") {
  map_bad_memory(BEHIND_IOMMU);
}
TEST(M25n, "the same with a noiommu HWPT") { map_bad_memory(NOIOMMU); }

TEST(M29, "MAP behind the aperture of the IOMMU: EINVAL") {
  const struct space s = with_domain(BEHIND_IOMMU);
  const uint64_t end = end_of_aperture(s.iommufd, s.ioas);
  CHECK_ERR(map_fixed(s.iommufd, s.ioas, scratch, PAGE, end + 1), EINVAL);
  CHECK_OK(map_fixed(s.iommufd, s.ioas, scratch, PAGE, end - (PAGE - 1)));
}

TEST(M30, "MAP with a read-only struct: EFAULT, and the mapping stays") {
  const struct space s = fresh();
  const struct iommu_ioas_map cmd = {
      .size = sizeof(cmd), .flags = RW | FIXED, .ioas_id = s.ioas, .length = PAGE, .iova = 0x10000};
  void* arg = read_only(&cmd, sizeof(cmd));
  CHECK_ERR(ioctl(s.iommufd, IOMMU_IOAS_MAP, arg), EFAULT);
  CHECK_ERR(ioctl(s.iommufd, IOMMU_IOAS_MAP, arg), EEXIST);
}

TEST(M31, "MAP of a kernel address, of nothing and of NULL without a domain: ok") {
  const struct space s = fresh();
  CHECK_OK(map_raw(s.iommufd, RW | FIXED, s.ioas, 0xffff800000000000, PAGE, 0x10000));
  CHECK_OK(map_fixed(s.iommufd, s.ioas, no_page(), PAGE, 0x20000));
  CHECK_OK(map_raw(s.iommufd, RW | FIXED, s.ioas, 0, PAGE, 0x30000));
}

TEST(M32, "MAP that fails leaves the struct untouched") {
  const struct space s = fresh();
  struct iommu_ioas_map cmd = {.size = sizeof(cmd), .flags = RW, .ioas_id = s.ioas, .length = 0, .iova = 0x1234};
  CHECK_ERR(ioctl(s.iommufd, IOMMU_IOAS_MAP, &cmd), EINVAL);
  CHECK_EQ(cmd.iova, 0x1234);
}

/* Two things are wrong at a time; the one that is looked at first decides. */
TEST(M33, "MAP with a domain: the order of the checks behind the id") {
  const struct space s = with_domain(BEHIND_IOMMU);
  const uint64_t va = (uintptr_t)pages(4 * PAGE), hole = (uintptr_t)no_page();
  const struct {
    uint32_t flags;
    uint64_t va, length, iova;
    int want;
  } rows[] = {
      {RW, MAX, MAX - 1, 0, EOVERFLOW},                          /* 5 wraps, 6 length */
      {RW | FIXED, MAX - 10, 11, 0x10001, EOVERFLOW},            /* 5, 8, 9b */
      {RW, va, 0x7fffffffffffffff, 0, EINVAL},                   /* 8 length, 9a no such hole */
      {RW | FIXED, va, 8, 0x10000, EINVAL},                      /* 8, 9e taken */
      {RW | FIXED, va, PAGE, 0xfffffffffffff001, EINVAL},        /* 9b misaligned, 9c wraps */
      {RW | FIXED, va, 2 * PAGE, 0xfffffffffffff000, EOVERFLOW}, /* 9c, 9d behind the aperture or 9e */
      {RW | FIXED, va, PAGE, 0x10800, EINVAL},                   /* 9b, 9e */
      {RW | FIXED, va + 1, PAGE, 0x10000, EEXIST},               /* 9e, 10 place in the page */
      {RW | FIXED, hole, PAGE, 0x10000, EEXIST},                 /* 9e, 11 memory that is not there */
      {RW | FIXED, hole + 1, PAGE, 0x20000, EINVAL},             /* 10, 11 */
      {RW | FIXED, hole, PAGE, 0x20000, EFAULT},                 /* 11 */
      {RW, hole, PAGE, 0, EFAULT},
  };
  REQUIRE(CHECK_OK(map_raw(s.iommufd, RW | FIXED, s.ioas, va, PAGE, 0x10000)));
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
    if (!CHECK_ERR(map_raw(s.iommufd, rows[i].flags, s.ioas, rows[i].va, rows[i].length, rows[i].iova), rows[i].want))
      note("line %zu", i + 1);
  CHECK_OK(map_raw(s.iommufd, RW | FIXED, s.ioas, va, PAGE, 0x20000));
}

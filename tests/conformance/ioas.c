/* SPDX-License-Identifier: BSD-3-Clause */
/* I/O address spaces: IOVA_RANGES and ALLOW_IOVAS (spec iommufd-core 3.2 and 3.3, rows R and A of 7.2). */
#define _GNU_SOURCE
#include "space.h"

static uint8_t scratch[PAGE] __attribute__((aligned(4096)));

/* ---- IOVA_RANGES ------------------------------------------------------------------------------------- */

SECTION("iommufd-core 3.2");

TEST(R01, "IOVA_RANGES: reserved before the id: EOPNOTSUPP") {
  struct iommu_ioas_iova_ranges cmd = {.size = sizeof(cmd), .ioas_id = NO_ID, .__reserved = 1};
  CHECK_ERR(ioctl(open_iommufd(), IOMMU_IOAS_IOVA_RANGES, &cmd), EOPNOTSUPP);
}

TEST(R02, "IOVA_RANGES: bad id: ENOENT") {
  uint32_t num = 0;
  uint64_t alignment;
  CHECK_ERR(iova_ranges(open_iommufd(), NO_ID, NULL, &num, &alignment), ENOENT);
}

TEST(R03, "IOVA_RANGES of a fresh IOAS: all of it, alignment 1") {
  const struct space s = fresh();
  struct iommu_iova_range r[2] = {{7, 7}, {7, 7}};
  uint32_t num = 2;
  uint64_t alignment = 0;
  CHECK_OK(iova_ranges(s.iommufd, s.ioas, r, &num, &alignment));
  CHECK_EQ(num, 1);
  CHECK_EQ(r[0].start, 0);
  CHECK_EQ(r[0].last, MAX);
  CHECK_EQ(r[1].start, 7);
  CHECK_EQ(alignment, 1);
}

TEST(R04, "IOVA_RANGES with no room: EMSGSIZE, count and alignment written") {
  const struct space s = fresh();
  uint32_t num = 0;
  uint64_t alignment = 0;
  CHECK_ERR(iova_ranges(s.iommufd, s.ioas, NULL, &num, &alignment), EMSGSIZE);
  CHECK_EQ(num, 1);
  CHECK_EQ(alignment, 1);
}

TEST(R05, "IOVA_RANGES behind an IOMMU with room for one: EMSGSIZE, the total, one slot filled") {
  const struct window w = interrupt_window();
  const struct space s = fresh();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, s.iommufd);
  struct iommu_iova_range r[2] = {{7, 7}, {7, 7}};
  uint32_t num = 1;
  uint64_t alignment = 0;
  REQUIRE(CHECK_OK(attach_to(&d, s.ioas)));
  CHECK_ERR(iova_ranges(s.iommufd, s.ioas, r, &num, &alignment), EMSGSIZE);
  CHECK_GE(num, 2);
  CHECK_EQ(r[0].start, 0);
  CHECK_EQ(r[0].last, w.start - 1);
  CHECK_EQ(r[1].start, 7);
  CHECK_EQ(alignment, PAGE);
}

TEST(R06, "IOVA_RANGES behind an IOMMU with room: the interrupt window is between two ranges") {
  const struct window w = interrupt_window();
  const struct space s = fresh();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, s.iommufd);
  struct ranges r;
  REQUIRE(CHECK_OK(attach_to(&d, s.ioas)));
  r = all_ranges(s.iommufd, s.ioas);
  REQUIRE(CHECK_GE(r.num, 2));
  CHECK(w.start == 0xfee00000 || w.start == 0x8000000); /* x86, Arm */
  CHECK_EQ(w.last, w.start + 0xfffff);
  CHECK_EQ(r.at[0].last, w.start - 1);
  CHECK_EQ(r.at[1].start, w.last + 1);
  for (uint32_t i = 1; i < r.num; i++) CHECK(r.at[i].start > r.at[i - 1].last + 1);
}

TEST(R08, "IOVA_RANGES with a bad array: EFAULT, the struct is untouched") {
  const struct space s = fresh();
  struct iommu_ioas_iova_ranges cmd = {.size = sizeof(cmd),
                                       .ioas_id = s.ioas,
                                       .num_iovas = 5,
                                       .allowed_iovas = (uintptr_t)no_page(),
                                       .out_iova_alignment = 7};
  CHECK_ERR(ioctl(s.iommufd, IOMMU_IOAS_IOVA_RANGES, &cmd), EFAULT);
  CHECK_EQ(cmd.num_iovas, 5);
  CHECK_EQ(cmd.out_iova_alignment, 7);
}

/* ---- ALLOW_IOVAS ------------------------------------------------------------------------------------- */

SECTION("iommufd-core 3.3");

TEST(A01, "ALLOW_IOVAS: reserved: EOPNOTSUPP") {
  struct iommu_ioas_allow_iovas cmd = {.size = sizeof(cmd), .ioas_id = NO_ID, .__reserved = 1};
  CHECK_ERR(ioctl(open_iommufd(), IOMMU_IOAS_ALLOW_IOVAS, &cmd), EOPNOTSUPP);
}

TEST(A02, "ALLOW_IOVAS: bad id before a bad array: ENOENT") {
  CHECK_ERR(allow_iovas(open_iommufd(), NO_ID, (void*)no_page(), 1), ENOENT);
}

TEST(A03, "ALLOW_IOVAS: bad array: EFAULT") {
  const struct space s = fresh();
  CHECK_ERR(allow_iovas(s.iommufd, s.ioas, (void*)no_page(), 1), EFAULT);
}

static int allow_two(const struct space* s, uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
  const struct iommu_iova_range r[2] = {{a, b}, {c, d}};
  return allow_iovas(s->iommufd, s->ioas, r, 2);
}

TEST(A04, "ALLOW_IOVAS: an element of one byte: EINVAL") {
  const struct space s = fresh();
  CHECK_ERR(allow_two(&s, 0x1000, 0x1000, 0x5000, 0x5fff), EINVAL);
}

TEST(A05, "ALLOW_IOVAS: start above last: EINVAL") {
  const struct space s = fresh();
  CHECK_ERR(allow_two(&s, 0x5000, 0x5fff, 0x2000, 0x1000), EINVAL);
}

TEST(A06, "ALLOW_IOVAS: elements overlap: EINVAL") {
  const struct space s = fresh();
  CHECK_ERR(allow_two(&s, 0x1000, 0x5000, 0x5000, 0x6000), EINVAL);
  CHECK_ERR(allow_two(&s, 0x1000, 0x5000, 0x2000, 0x3000), EINVAL);
}

TEST(A07, "ALLOW_IOVAS: elements touch, in any order: ok") {
  const struct space s = fresh();
  CHECK_OK(allow_two(&s, 0x5000, 0x5fff, 0x1000, 0x4fff));
  CHECK_OK(allow_two(&s, 0, 0xfff, 0x1000, MAX));
}

TEST(A08, "ALLOW_IOVAS over a reserved range: EADDRINUSE, the old list stays") {
  const struct window w = interrupt_window();
  const struct space s = fresh();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, s.iommufd);
  uint64_t iova;
  REQUIRE(CHECK_OK(attach_to(&d, s.ioas)));
  REQUIRE(CHECK_OK(allow_two(&s, 0x40000, 0x40fff, 0x50000, 0x50fff)));
  CHECK_ERR(allow_two(&s, 0x10000, 0x1ffff, w.start, w.start + 0xfff), EADDRINUSE);
  REQUIRE(CHECK_OK(map_va(s.iommufd, s.ioas, (uintptr_t)scratch, PAGE, &iova)));
  CHECK_EQ(iova, 0x40000);
}

TEST(A09, "ALLOW_IOVAS with no element clears the list") {
  const struct space s = fresh();
  uint64_t iova;
  REQUIRE(CHECK_OK(allow_two(&s, 0x40000, 0x40fff, 0x50000, 0x50fff)));
  CHECK_OK(allow_iovas(s.iommufd, s.ioas, NULL, 0));
  REQUIRE(CHECK_OK(map_va(s.iommufd, s.ioas, 0x1000, PAGE, &iova)));
  CHECK_EQ(iova, 0x1000);
}

TEST(A10, "ALLOW_IOVAS does not restrict a fixed map") {
  const struct space s = fresh();
  REQUIRE(CHECK_OK(allow_two(&s, 0x40000, 0x40fff, 0x50000, 0x50fff)));
  CHECK_OK(map_fixed(s.iommufd, s.ioas, scratch, PAGE, 0x800000));
}

TEST(A11, "ALLOW_IOVAS without room: ENOSPC for an automatic map") {
  const struct space s = fresh();
  uint64_t iova;
  REQUIRE(CHECK_OK(allow_two(&s, 0x40000, 0x40fff, 0x50000, 0x50fff)));
  CHECK_ERR(map_va(s.iommufd, s.ioas, 0x1000, 2 * PAGE, &iova), ENOSPC);
}

TEST(A12, "an allowed range over a reserved region: attach is EADDRINUSE") {
  const struct window w = interrupt_window();
  const struct space s = fresh();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, s.iommufd);
  REQUIRE(CHECK_OK(allow_two(&s, w.start, w.last, 0x1000, 0x1fff)));
  CHECK_ERR(attach_to(&d, s.ioas), EADDRINUSE);
  REQUIRE(CHECK_OK(allow_iovas(s.iommufd, s.ioas, NULL, 0)));
  CHECK_OK(attach_to(&d, s.ioas));
}

TEST(A13, "ALLOW_IOVAS does not look at areas, and a failed call keeps the list") {
  const struct space s = fresh();
  uint64_t iova;
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, scratch, PAGE, 0x800000)));
  CHECK_OK(allow_two(&s, 0x800000, 0x800fff, 0x900000, 0x900fff));
  CHECK_ERR(allow_two(&s, 0x10000, 0x10fff, 5, 5), EINVAL);
  REQUIRE(CHECK_OK(map_va(s.iommufd, s.ioas, 0x1000, PAGE, &iova)));
  CHECK_EQ(iova, 0x900000);
}

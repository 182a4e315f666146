/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dirty tracking: HWPT_ALLOC with DIRTY_TRACKING, SET_DIRTY_TRACKING, GET_DIRTY_BITMAP (spec iommufd-core A.1 to A.3, A.5;
 * iommufd-hwpt 6 and 7). Needs an edu device behind an IOMMU that reports the capability; others skip. DMA writes are what
 * marks pages. Large pages are off where a row asks for exact pages.
 */
#define _GNU_SOURCE
#include "edu.h"

#define IOVA 0x1000000u
#define PAGES 64u

struct space {
  int iommufd;
  struct vdev dev;
  uint32_t ioas, hwpt;
  uint8_t* memory;
};

static uint64_t capabilities(int iommufd, const struct vdev* d) {
  struct iommu_hw_info cmd = {.size = sizeof(cmd), .dev_id = d->id};
  REQUIRE(CHECK_OK(ioctl(iommufd, IOMMU_GET_HW_INFO, &cmd)));
  return cmd.out_capabilities;
}

static int set_tracking(int iommufd, uint32_t hwpt, uint32_t flags) {
  struct iommu_hwpt_set_dirty_tracking cmd = {.size = sizeof(cmd), .flags = flags, .hwpt_id = hwpt, .__reserved = 7};
  return ioctl(iommufd, IOMMU_HWPT_SET_DIRTY_TRACKING, &cmd);
}

static int get_bitmap(const struct space* s, uint32_t flags, uint64_t iova, uint64_t length, uint64_t page_size,
                      void* data) {
  struct iommu_hwpt_get_dirty_bitmap cmd = {.size = sizeof(cmd),
                                            .hwpt_id = s->hwpt,
                                            .flags = flags,
                                            .iova = iova,
                                            .length = length,
                                            .page_size = page_size,
                                            .data = (uintptr_t)data};
  return ioctl(s->iommufd, IOMMU_HWPT_GET_DIRTY_BITMAP, &cmd);
}

/* The bitmap of all PAGES pages as a number. */
static uint64_t dirty_pages(const struct space* s, uint32_t flags) {
  uint64_t bits = 0;
  CHECK_OK(get_bitmap(s, flags, IOVA, PAGES * PAGE, PAGE, &bits));
  return bits;
}

/* A device attached to a HWPT that can track, 64 small pages mapped, tracking off. */
static struct space set_up(void) {
  struct space s = {.iommufd = open_iommufd()};
  struct iommu_option small = {
      .size = sizeof(small), .option_id = IOMMU_OPTION_HUGE_PAGES, .op = IOMMU_OPTION_OP_SET, .val64 = 0};
  s.dev = open_and_bind(BEHIND_IOMMU, 0, s.iommufd);
  if (!(capabilities(s.iommufd, &s.dev) & IOMMU_HW_CAP_DIRTY_TRACKING)) SKIP("the IOMMU cannot track dirty pages");
  s.ioas = small.object_id = ioas_alloc(s.iommufd);
  REQUIRE(CHECK_OK(ioctl(s.iommufd, IOMMU_OPTION, &small)));
  REQUIRE(CHECK_OK(hwpt_alloc(s.iommufd, s.dev.id, s.ioas, IOMMU_HWPT_ALLOC_DIRTY_TRACKING, &s.hwpt)));
  REQUIRE(CHECK_OK(attach_to(&s.dev, s.hwpt)));
  s.memory = pages(PAGES * PAGE);
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, s.memory, PAGES * PAGE, IOVA)));
  return s;
}

static struct edu enable(const struct space* s) {
  struct edu e = edu_from(s->dev);
  REQUIRE(CHECK_OK(set_tracking(s->iommufd, s->hwpt, IOMMU_HWPT_DIRTY_TRACKING_ENABLE)));
  return e;
}

static void write_page(const struct edu* e, unsigned page) { edu_store(e, IOVA + page * PAGE + 64, 16); }

/* ---- arguments --------------------------------------------------------------------------------------- */

SECTION("iommufd-core A.2");

TEST(Y01, "SET_DIRTY_TRACKING: flags before the id, the id before the ability; reserved is not looked at") {
  const struct space s = set_up();
  uint32_t plain;
  REQUIRE(CHECK_OK(hwpt_alloc(s.iommufd, s.dev.id, s.ioas, 0, &plain)));
  CHECK_ERR(set_tracking(s.iommufd, NO_ID, 2), EOPNOTSUPP);
  CHECK_ERR(set_tracking(s.iommufd, NO_ID, 1), ENOENT);
  CHECK_ERR(set_tracking(s.iommufd, s.ioas, 1), ENOENT);
  CHECK_ERR(set_tracking(s.iommufd, plain, 1), EOPNOTSUPP);
  CHECK_ERR(set_tracking(s.iommufd, plain, 0), EOPNOTSUPP);
  CHECK_OK(set_tracking(s.iommufd, s.hwpt, 0));
  CHECK_OK(set_tracking(s.iommufd, s.hwpt, 1));
  CHECK_OK(set_tracking(s.iommufd, s.hwpt, 1));
  CHECK_OK(set_tracking(s.iommufd, s.hwpt, 0));
}

SECTION("iommufd-core A.3");

TEST(Y02, "GET_DIRTY_BITMAP: the checks in order") {
  struct space s = set_up();
  struct iommu_hwpt_get_dirty_bitmap cmd = {.size = sizeof(cmd), .hwpt_id = NO_ID, .__reserved = 1};
  uint32_t plain, tracking = s.hwpt;
  uint64_t bits = 0;
  CHECK_ERR(ioctl(s.iommufd, IOMMU_HWPT_GET_DIRTY_BITMAP, &cmd), EOPNOTSUPP);
  cmd.__reserved = 0;
  cmd.flags = 2;
  CHECK_ERR(ioctl(s.iommufd, IOMMU_HWPT_GET_DIRTY_BITMAP, &cmd), EOPNOTSUPP);
  cmd.flags = 0;
  CHECK_ERR(ioctl(s.iommufd, IOMMU_HWPT_GET_DIRTY_BITMAP, &cmd), ENOENT);
  REQUIRE(CHECK_OK(hwpt_alloc(s.iommufd, s.dev.id, s.ioas, 0, &plain)));
  for (int tracks = 0; tracks < 2; tracks++) {
    s.hwpt = tracks ? tracking : plain;
    CHECK_ERR(get_bitmap(&s, 0, MAX - 1, PAGE, 0, &bits), EOVERFLOW);
    CHECK_ERR(get_bitmap(&s, 0, PAGE, 0, PAGE, &bits), EOVERFLOW); /* Q4 */
    CHECK_ERR(get_bitmap(&s, 0, IOVA + 1, PAGE, 0, &bits), EINVAL);
    CHECK_ERR(get_bitmap(&s, 0, IOVA, PAGE + 1, PAGE, &bits), EINVAL);
    CHECK_ERR(get_bitmap(&s, 0, IOVA, PAGE, 0, &bits), EINVAL);
    CHECK_ERR(get_bitmap(&s, 0, IOVA + PAGE, PAGE, 2 * PAGE, &bits), EINVAL);
    CHECK_ERR(get_bitmap(&s, 0, IOVA, PAGE, 2 * PAGE, &bits), EINVAL);
    if (!tracks) CHECK_ERR(get_bitmap(&s, 0, IOVA, PAGE, PAGE, &bits), EOPNOTSUPP);
  }
  CHECK_OK(get_bitmap(&s, 0, 0, 0, PAGE, &bits)); /* Q4: all of the address space */
  CHECK_OK(get_bitmap(&s, 0, IOVA, PAGE, PAGE, &bits));
  CHECK_EQ(bits, 0);
}

SECTION("iommufd-core A.1");

TEST(Y03, "HWPT_ALLOC: DIRTY_TRACKING with an unknown flag or user data: EOPNOTSUPP; an automatic HWPT cannot track") {
  struct space s = set_up();
  struct iommu_hwpt_alloc cmd = {.size = sizeof(cmd), .dev_id = s.dev.id, .pt_id = s.ioas};
  uint64_t data = 0, bits = 0;
  uint32_t pt = ioas_alloc(s.iommufd);
  cmd.flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING | 0x10;
  CHECK_ERR(ioctl(s.iommufd, IOMMU_HWPT_ALLOC, &cmd), EOPNOTSUPP);
  cmd.flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
  cmd.data_type = IOMMU_HWPT_DATA_VTD_S1;
  cmd.data_len = sizeof(data);
  cmd.data_uptr = (uintptr_t)&data;
  CHECK_ERR(ioctl(s.iommufd, IOMMU_HWPT_ALLOC, &cmd), EOPNOTSUPP);
  REQUIRE(CHECK_OK(attach(&s.dev, &pt)));
  s.hwpt = pt;
  CHECK_ERR(set_tracking(s.iommufd, pt, 1), EOPNOTSUPP);
  CHECK_ERR(get_bitmap(&s, 0, IOVA, PAGE, PAGE, &bits), EOPNOTSUPP);
}

TEST(Y04, "devices of both kinds: DIRTY_TRACKING is refused without an IOMMU") {
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(NOIOMMU, 0, iommufd);
  uint32_t hwpt;
  CHECK_ERR(hwpt_alloc(iommufd, d.id, ioas_alloc(iommufd), IOMMU_HWPT_ALLOC_DIRTY_TRACKING, &hwpt), EOPNOTSUPP);
}

/* ---- what devices write ------------------------------------------------------------------------------ */

SECTION("iommufd-core A.3");

TEST(Y10, "exactly the pages that a device wrote are dirty, and clean after they were read") {
  const struct space s = set_up();
  const struct edu e = enable(&s);
  CHECK_EQ(dirty_pages(&s, 0), 0);
  write_page(&e, 0);
  write_page(&e, 5);
  write_page(&e, 63);
  edu_store(&e, IOVA + 9 * PAGE - 8, 16); /* across a border */
  CHECK_EQ(dirty_pages(&s, 0), 1ull << 63 | 1ull << 9 | 1ull << 8 | 1ull << 5 | 1);
  CHECK_EQ(dirty_pages(&s, 0), 0);
  write_page(&e, 5);
  CHECK_EQ(dirty_pages(&s, 0), 1ull << 5);
}

TEST(Y11, "NO_CLEAR leaves the pages dirty") {
  const struct space s = set_up();
  const struct edu e = enable(&s);
  write_page(&e, 7);
  CHECK_EQ(dirty_pages(&s, IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR), 1u << 7);
  write_page(&e, 8);
  CHECK_EQ(dirty_pages(&s, IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR), 3u << 7);
  CHECK_EQ(dirty_pages(&s, 0), 3u << 7);
  CHECK_EQ(dirty_pages(&s, IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR), 0);
}

TEST(Y12, "a device that reads makes nothing dirty") {
  const struct space s = set_up();
  const struct edu e = enable(&s);
  edu_load(&e, IOVA + 3 * PAGE, 2048);
  CHECK_EQ(dirty_pages(&s, 0), 0);
}

TEST(Y13, "enabling forgets what was dirty, also when it is enabled already; bits can be read after disabling") {
  const struct space s = set_up();
  const struct edu e = enable(&s);
  write_page(&e, 1);
  CHECK_OK(set_tracking(s.iommufd, s.hwpt, IOMMU_HWPT_DIRTY_TRACKING_ENABLE));
  CHECK_EQ(dirty_pages(&s, 0), 0);
  write_page(&e, 2);
  CHECK_OK(set_tracking(s.iommufd, s.hwpt, 0));
  CHECK_EQ(dirty_pages(&s, 0), 1u << 2);
}

TEST(Y14, "what is mapped while tracking is on is tracked, and a new mapping starts clean") {
  const struct space s = set_up();
  const struct edu e = enable(&s);
  write_page(&e, 4);
  REQUIRE(CHECK_OK(unmap(s.iommufd, s.ioas, IOVA, PAGES * PAGE)));
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, s.memory, PAGES * PAGE, IOVA)));
  CHECK_EQ(dirty_pages(&s, 0), 0);
  write_page(&e, 6);
  CHECK_EQ(dirty_pages(&s, 0), 1u << 6);
}

TEST(Y15, "each HWPT of an IOAS has its own dirty state") {
  struct space s = set_up();
  struct space other = s;
  REQUIRE(CHECK_OK(hwpt_alloc(s.iommufd, s.dev.id, s.ioas, IOMMU_HWPT_ALLOC_DIRTY_TRACKING, &other.hwpt)));
  REQUIRE(CHECK_OK(set_tracking(s.iommufd, other.hwpt, IOMMU_HWPT_DIRTY_TRACKING_ENABLE)));
  const struct edu e = enable(&s);
  write_page(&e, 4);
  CHECK_EQ(dirty_pages(&other, 0), 0);
  CHECK_EQ(dirty_pages(&s, 0), 1u << 4);
}

/* ---- the bitmap -------------------------------------------------------------------------------------- */

TEST(Y20, "bit 0 is the start of the request; the bitmap may lie anywhere; bits that are set stay set") {
  const struct space s = set_up();
  const struct edu e = enable(&s);
  uint8_t bits[16];
  memset(bits, 0x80, sizeof(bits));
  write_page(&e, 15);
  write_page(&e, 16);
  CHECK_OK(get_bitmap(&s, 0, IOVA + 15 * PAGE, 16 * PAGE, PAGE, bits + 1));
  CHECK_EQ(bits[0], 0x80);
  CHECK_EQ(bits[1], 0x83);
  CHECK_EQ(bits[2], 0x80);
  CHECK_EQ(bits[3], 0x80);
}

TEST(Y21, "one bit for several pages, and several bits for one page") {
  const struct space s = set_up();
  const struct edu e = enable(&s);
  uint64_t bits = 0;
  write_page(&e, 3);
  write_page(&e, 21);
  CHECK_OK(get_bitmap(&s, 0, IOVA, PAGES * PAGE, 4 * PAGE, &bits));
  CHECK_EQ(bits, 1u << 5 | 1u);
  write_page(&e, 2);
  bits = 0;
  CHECK_OK(get_bitmap(&s, 0, IOVA, 4 * PAGE, PAGE / 4, &bits));
  CHECK_EQ(bits, 0xf00);
}

TEST(Y22, "the walk ends at the first hole, and a range outside of all mappings is a success") {
  const struct space s = set_up();
  const struct edu e = enable(&s);
  uint64_t bits = 0;
  const uint64_t behind = IOVA + (PAGES + 1) * PAGE;
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, pages(PAGE), PAGE, IOVA + PAGES * PAGE)));
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, pages(PAGE), PAGE, behind + PAGE)));
  write_page(&e, 63);
  write_page(&e, 64);
  write_page(&e, 66);
  CHECK_OK(get_bitmap(&s, 0, IOVA + 60 * PAGE, 8 * PAGE, PAGE, &bits));
  CHECK_EQ(bits, 0x18);
  bits = 0;
  CHECK_OK(get_bitmap(&s, 0, behind, 2 * PAGE, PAGE, &bits)); /* begins in the hole */
  CHECK_EQ(bits, 0);
  CHECK_OK(get_bitmap(&s, 0, behind + PAGE, PAGE, PAGE, &bits));
  CHECK_EQ(bits, 1);
}

TEST(Y23, "a bitmap that cannot be written: success, and the dirty state is lost") {
  const struct space s = set_up();
  const struct edu e = enable(&s);
  write_page(&e, 1);
  CHECK_OK(get_bitmap(&s, 0, IOVA, PAGES * PAGE, PAGE, no_page()));
  CHECK_EQ(dirty_pages(&s, 0), 0);
}

TEST(Y24, "a bitmap of several pages: one bit for 64 bytes, so 64 bits for a page") {
  const struct space s = set_up();
  const unsigned count = 1536;
  const uint64_t base = 0x8000000;
  const size_t bytes = count * PAGE / 64 / 8;
  const unsigned written[] = {0, 511, 512, 1000, 1535};
  const uint64_t ones[1] = {MAX};
  uint8_t* bitmap = pages(4 * PAGE) + 100;
  size_t set = 0;
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, pages(count * PAGE), count * PAGE, base)));
  const struct edu e = enable(&s);
  for (size_t i = 0; i < 5; i++) edu_store(&e, base + written[i] * PAGE, 8);
  CHECK_OK(get_bitmap(&s, 0, base, count * PAGE, 64, bitmap));
  for (size_t i = 0; i < 5; i++) CHECK(memcmp(bitmap + written[i] * 8, ones, 8) == 0);
  for (size_t i = 0; i < bytes; i++) set += bitmap[i] != 0;
  CHECK_EQ(set, 5 * 8);
  CHECK_EQ(bitmap[-1] | bitmap[bytes], 0);
}

TEST(Y25, "large pages: the page that was written is reported, wherever it lies in its entry") {
  struct space s = set_up();
  const unsigned count = 1024;
  const uint64_t base = 0x8000000;
  uint8_t* memory = pages(count * PAGE);
  uint8_t bits[1024 / 8] = {0}, after[1024 / 8] = {0}, zero[1024 / 8] = {0};
  struct iommu_option huge = {.size = sizeof(huge),
                              .option_id = IOMMU_OPTION_HUGE_PAGES,
                              .op = IOMMU_OPTION_OP_SET,
                              .object_id = s.ioas,
                              .val64 = 1};
  const unsigned written[] = {0, 1, 15, 16, 511, 777, 1023};
  REQUIRE(CHECK_OK(ioctl(s.iommufd, IOMMU_OPTION, &huge)));
  madvise(memory, count * PAGE, MADV_HUGEPAGE);
  memset(memory, 1, count * PAGE);
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, memory, count * PAGE, base)));
  const struct edu e = enable(&s);
  for (size_t i = 0; i < sizeof(written) / sizeof(written[0]); i++) edu_store(&e, base + written[i] * PAGE, 8);
  CHECK_OK(get_bitmap(&s, 0, base, count * PAGE, PAGE, bits));
  for (size_t i = 0; i < sizeof(written) / sizeof(written[0]); i++)
    if (!CHECK((bits[written[i] / 8] >> written[i] % 8 & 1) == 1)) note("page %u", written[i]);
  CHECK_OK(get_bitmap(&s, 0, base, count * PAGE, PAGE, after));
  CHECK(memcmp(after, zero, sizeof(after)) == 0);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* VFIO_IOMMU_GET_INFO of a container (spec iommufd-core 6.6, rows T24 to T26 of 7.9). One row needs a device behind an IOMMU. */
#define _GNU_SOURCE
#include "container.h"

SECTION("iommufd-core 6.6");

TEST(T24, "GET_INFO: EFAULT, EINVAL for argsz, then ENODEV") {
  const int iommufd = open_iommufd();
  struct vfio_iommu_type1_info cmd = {.argsz = 15};
  CHECK_ERR(ioctl(iommufd, VFIO_IOMMU_GET_INFO, no_page()), EFAULT);
  CHECK_ERR(ioctl(iommufd, VFIO_IOMMU_GET_INFO, &cmd), EINVAL);
  CHECK_ERR(ioctl(open_container().iommufd, VFIO_IOMMU_GET_INFO, &cmd), EINVAL);
  cmd.argsz = sizeof(cmd);
  CHECK_ERR(ioctl(iommufd, VFIO_IOMMU_GET_INFO, &cmd), ENODEV);
}

static uint32_t word_at(const uint8_t* p, unsigned offset) {
  uint32_t v;
  memcpy(&v, p + offset, sizeof(v));
  return v;
}

static uint64_t long_at(const uint8_t* p, unsigned offset) {
  uint64_t v;
  memcpy(&v, p + offset, sizeof(v));
  return v;
}

static bool untouched(const uint8_t* p, unsigned from, unsigned to) {
  for (unsigned i = from; i < to; i++)
    if (p[i] != 0xa5) return false;
  return true;
}

TEST_ROWS(T25, "T26", "GET_INFO: what is written for every argsz from 16 to 80") {
  const struct container c = open_container();
  for (unsigned argsz = 16; argsz <= 80; argsz++) {
    uint8_t b[96];
    const unsigned header = argsz < 24 ? argsz : 24;
    memset(b, 0xa5, sizeof(b));
    memcpy(b, &argsz, sizeof(argsz));
    bool good = CHECK_OK(ioctl(c.iommufd, VFIO_IOMMU_GET_INFO, b));
    good &= CHECK_EQ(word_at(b, 0), 72);
    good &= CHECK_EQ(word_at(b, 4), VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS);
    good &= CHECK_EQ(long_at(b, 8), ~(uint64_t)(PAGE - 1)); /* T26 */
    if (argsz >= 20) good &= CHECK_EQ(word_at(b, 16), argsz >= 72 ? 24 : 0);
    good &= CHECK(untouched(b, header, 24));
    if (argsz >= 36) {
      good &= CHECK_EQ(word_at(b, 24), 3 | 1 << 16);
      good &= CHECK_EQ(word_at(b, 28), argsz >= 40 ? 40 : 0);
      good &= CHECK_EQ(word_at(b, 32), 0xffffffff);
    } else {
      good &= CHECK(untouched(b, 24, 36));
    }
    good &= CHECK(untouched(b, 36, 40));
    if (argsz >= 72) {
      good &= CHECK_EQ(word_at(b, 40), 1 | 1 << 16);
      good &= CHECK_EQ(word_at(b, 44), 0);
      good &= CHECK_EQ(word_at(b, 48), 1);
      good &= CHECK_EQ(word_at(b, 52), 0);
      good &= CHECK_EQ(long_at(b, 56), 0);
      good &= CHECK_EQ(long_at(b, 64), MAX);
    } else {
      good &= CHECK(untouched(b, 40, 72));
    }
    good &= CHECK(untouched(b, 72, sizeof(b)));
    if (!good) note("argsz %u", argsz);
  }
}

TEST(T25d, "GET_INFO with a device: its page sizes and ranges, entries as they fit") {
  const struct container c = open_container();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, c.iommufd);
  uint8_t b[512];
  struct ranges r;
  uint32_t room = 40 + 16 + 16; /* one range */
  REQUIRE(CHECK_OK(attach_to(&d, c.ioas)));
  r = all_ranges(c.iommufd, c.ioas);
  if (r.num < 2) SKIP("the IOMMU reserves nothing: one range");
  memset(b, 0xa5, sizeof(b));
  memcpy(b, &room, sizeof(room));
  CHECK_OK(ioctl(c.iommufd, VFIO_IOMMU_GET_INFO, b));
  CHECK_EQ(word_at(b, 0), 56 + 16 * r.num);
  CHECK_EQ(word_at(b, 16), 0);
  CHECK(untouched(b, 40, 56));
  CHECK_EQ(long_at(b, 56), r.at[0].start);
  CHECK_EQ(long_at(b, 64), r.at[0].last);
  CHECK(untouched(b, 72, sizeof(b)));
  room = sizeof(b);
  memcpy(b, &room, sizeof(room));
  CHECK_OK(ioctl(c.iommufd, VFIO_IOMMU_GET_INFO, b));
  CHECK_EQ(word_at(b, 16), 24);
  CHECK_EQ(word_at(b, 28), 40);
  CHECK_EQ(word_at(b, 48), r.num);
  for (uint32_t i = 0; i < r.num; i++) {
    CHECK_EQ(long_at(b, 56 + 16 * i), r.at[i].start);
    CHECK_EQ(long_at(b, 64 + 16 * i), r.at[i].last);
  }
  CHECK_NE(long_at(b, 8) & PAGE, 0);
  CHECK_EQ(long_at(b, 8) & (PAGE - 1), 0);
}

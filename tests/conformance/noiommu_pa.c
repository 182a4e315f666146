/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Physical addresses in noiommu mode: GET_PA, and devices of both kinds in one context, which decide whether it answers
 * (spec noiommu, rows 32 to 44, 49 and 50 of 17; the X tests pin what the sections before it say).
 */
#define _GNU_SOURCE
#include "noiommu.h"

/* ---- NOIOMMU_GET_PA ---------------------------------------------------------------------------------- */

SECTION("noiommu 17");

TEST(N32, "GET_PA with flags or reserved: EOPNOTSUPP") {
  const struct setup s = set_up(true);
  struct iommu_ioas_noiommu_get_pa cmd = {.size = sizeof(cmd), .flags = 1, .ioas_id = NO_ID, .iova = MAX};
  CHECK_ERR(ioctl(s.iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &cmd), EOPNOTSUPP);
  cmd.flags = 0;
  cmd.__reserved = 1;
  CHECK_ERR(ioctl(s.iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &cmd), EOPNOTSUPP);
}

TEST(N33, "GET_PA of length 0: EINVAL") {
  const struct setup s = set_up(true);
  uint64_t length = 0, phys;
  CHECK_ERR(get_pa(s.iommufd, s.ioas, SETUP_IOVA, &length, &phys), EINVAL);
  length = 0;
  CHECK_ERR(get_pa(s.iommufd, NO_ID, MAX, &length, &phys), EINVAL);
}

TEST(N34, "GET_PA of IOVA 2^64-1: EOVERFLOW") {
  const struct setup s = set_up(true);
  uint64_t length = 1, phys;
  CHECK_ERR(get_pa(s.iommufd, s.ioas, MAX, &length, &phys), EOVERFLOW);
  CHECK_ERR(get_pa(s.iommufd, NO_ID, MAX, &length, &phys), EOVERFLOW);
}

TEST(N35, "GET_PA of an id that is no IOAS: ENOENT") {
  const struct setup s = set_up(true);
  uint64_t length = 1, phys;
  CHECK_ERR(get_pa(s.iommufd, NO_ID, SETUP_IOVA, &length, &phys), ENOENT);
  CHECK_ERR(get_pa(s.iommufd, s.hwpt, SETUP_IOVA, &length, &phys), ENOENT);
}

TEST(N36, "GET_PA of an unmapped IOVA: ENOENT, nothing written") {
  const struct setup s = set_up(true);
  struct iommu_ioas_noiommu_get_pa cmd = {
      .size = sizeof(cmd), .ioas_id = s.ioas, .iova = 0x40000000, .length = 77, .out_phys = 0x5a5a};
  CHECK_ERR(ioctl(s.iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &cmd), ENOENT);
  CHECK_EQ(cmd.length, 77);
  CHECK_EQ(cmd.out_phys, 0x5a5a);
  cmd.iova = SETUP_IOVA - 1;
  CHECK_ERR(ioctl(s.iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &cmd), ENOENT);
  cmd.iova = SETUP_IOVA + SETUP_PAGES * PAGE;
  CHECK_ERR(ioctl(s.iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &cmd), ENOENT);
}

TEST(N37, "GET_PA of a mapping without HWPT: EOPNOTSUPP") {
  const struct setup s = set_up(false);
  uint64_t length, phys;
  CHECK_ERR(query_pa(&s, SETUP_IOVA, MAX, &length, &phys), EOPNOTSUPP);
}

TEST(N38, "GET_PA with HWPT_ALLOC only, no attach: success") {
  const struct setup s = set_up(false);
  uint64_t length, phys;
  uint32_t hwpt;
  REQUIRE(CHECK_OK(hwpt_alloc(s.iommufd, s.dev.id, s.ioas, 0, &hwpt)));
  CHECK_OK(query_pa(&s, SETUP_IOVA, MAX, &length, &phys));
  CHECK_NE(phys, 0);
}

TEST(N39, "GET_PA of 32 pages: an address, and a length that ends on a page boundary") {
  const struct setup s = set_up(true);
  uint64_t length, phys, done = 0;
  while (done < SETUP_PAGES * PAGE) {
    REQUIRE(CHECK_OK(query_pa(&s, SETUP_IOVA + done, MAX, &length, &phys)));
    CHECK_NE(phys, 0);
    CHECK_GE(length, PAGE);
    REQUIRE(CHECK_LE(length, SETUP_PAGES * PAGE - done));
    CHECK_EQ((phys + length) % PAGE, 0);
    done += length;
  }
}

TEST(N40, "GET_PA of IOVA + 0x80: 0x80 further, 0x80 shorter") {
  const struct setup s = set_up(true);
  uint64_t length, phys, length80, phys80;
  REQUIRE(CHECK_OK(query_pa(&s, SETUP_IOVA, MAX, &length, &phys)));
  REQUIRE(CHECK_OK(query_pa(&s, SETUP_IOVA + 0x80, MAX, &length80, &phys80)));
  CHECK_EQ(phys80, phys + 0x80);
  CHECK_EQ(length80, length - 0x80);
}

TEST(N41, "GET_PA with a length of half a page: that length") {
  const struct setup s = set_up(true);
  uint64_t length, phys;
  REQUIRE(CHECK_OK(query_pa(&s, SETUP_IOVA, PAGE / 2, &length, &phys)));
  CHECK_EQ(length, PAGE / 2);
  REQUIRE(CHECK_OK(query_pa(&s, SETUP_IOVA + PAGE - 1, 1, &length, &phys)));
  CHECK_EQ(length, 1);
}

TEST(N42, "GET_PA stops at the end of a mapping, even where memory goes on") {
  const struct setup s = set_up(true);
  const uint64_t half = 1u << 20, iova = 0x40000000;
  uint64_t length, phys, second_length, second_phys;
  uint8_t* memory = pages(2 * half);
  madvise(memory, 2 * half, MADV_HUGEPAGE);
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, memory, half, iova)));
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, memory + half, half, iova + half)));
  REQUIRE(CHECK_OK(query_pa(&s, iova, MAX, &length, &phys)));
  REQUIRE(CHECK_OK(query_pa(&s, iova + half, MAX, &second_length, &second_phys)));
  CHECK_LE(length, half);
  note("runs of %#llx and %#llx bytes%s", (unsigned long long)length, (unsigned long long)second_length,
       second_phys == phys + half ? ", contiguous" : "");
}

TEST(N43, "GET_PA after unmap: ENOENT; after detach: EOPNOTSUPP") {
  const struct setup s = set_up(true);
  uint64_t length, phys;
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, pages(PAGE), PAGE, 0x800000)));
  CHECK_OK(query_pa(&s, 0x800000, MAX, &length, &phys));
  REQUIRE(CHECK_OK(unmap(s.iommufd, s.ioas, 0x800000, PAGE)));
  CHECK_ERR(query_pa(&s, 0x800000, MAX, &length, &phys), ENOENT);
  REQUIRE(CHECK_OK(detach(&s.dev)));
  CHECK_ERR(query_pa(&s, SETUP_IOVA, MAX, &length, &phys), EOPNOTSUPP);
}

TEST(N44, "GET_PA size 39: EINVAL; size 48 with a zero tail: ok; with another tail: E2BIG") {
  const struct setup s = set_up(true);
  struct {
    struct iommu_ioas_noiommu_get_pa cmd;
    uint64_t tail;
  } arg = {.cmd = {.size = 39, .ioas_id = s.ioas, .iova = SETUP_IOVA, .length = MAX}};
  CHECK_ERR(ioctl(s.iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &arg), EINVAL);
  arg.cmd.size = 48;
  arg.tail = 1;
  CHECK_ERR(ioctl(s.iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &arg), E2BIG);
  arg.tail = 0;
  CHECK_OK(ioctl(s.iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &arg));
}

TEST(X02, "GET_PA does not ask for a permission of the mapping") {
  const struct setup s = set_up(true);
  uint64_t length, phys, iova = 0x800000;
  REQUIRE(CHECK_OK(map_full(s.iommufd, s.ioas, IOMMU_IOAS_MAP_WRITEABLE | FIXED, (uintptr_t)pages(PAGE), PAGE, &iova)));
  CHECK_OK(query_pa(&s, iova, MAX, &length, &phys));
  iova = 0x900000;
  REQUIRE(CHECK_OK(map_full(s.iommufd, s.ioas, IOMMU_IOAS_MAP_READABLE | FIXED, (uintptr_t)pages(PAGE), PAGE, &iova)));
  CHECK_OK(query_pa(&s, iova, MAX, &length, &phys));
}

TEST(X03, "one page has one physical address, however often and wherever it is mapped") {
  const struct setup s = set_up(true);
  const uint32_t other = ioas_alloc(s.iommufd);
  struct setup o = s;
  uint64_t length, phys, again;
  uint32_t hwpt;
  REQUIRE(CHECK_OK(query_pa(&s, SETUP_IOVA + 3 * PAGE, MAX, &length, &phys)));
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, s.memory + 3 * PAGE, PAGE, 0x800000)));
  CHECK_OK(query_pa(&s, 0x800000, MAX, &length, &again));
  CHECK_EQ(again, phys);
  REQUIRE(CHECK_OK(copy_fixed(s.iommufd, RW, s.ioas, s.ioas, PAGE, SETUP_IOVA + 3 * PAGE, 0x900000)));
  CHECK_OK(query_pa(&s, 0x900000, MAX, &length, &again));
  CHECK_EQ(again, phys);
  o.ioas = other;
  REQUIRE(CHECK_OK(hwpt_alloc(s.iommufd, s.dev.id, other, 0, &hwpt)));
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, other, s.memory + 3 * PAGE, PAGE, 0)));
  CHECK_OK(query_pa(&o, 0, MAX, &length, &again));
  CHECK_EQ(again, phys);
  REQUIRE(CHECK_OK(copy_fixed(s.iommufd, RW, other, s.ioas, PAGE, SETUP_IOVA + 3 * PAGE, 0x10000)));
  CHECK_OK(query_pa(&o, 0x10000, MAX, &length, &again));
  CHECK_EQ(again, phys);
}

TEST(X04, "different pages have different physical addresses") {
  const struct setup s = set_up(true);
  uint64_t length, phys[SETUP_PAGES];
  for (unsigned i = 0; i < SETUP_PAGES; i++) {
    REQUIRE(CHECK_OK(query_pa(&s, SETUP_IOVA + i * PAGE, PAGE, &length, &phys[i])));
    for (unsigned j = 0; j < i; j++) CHECK_NE(phys[i], phys[j]);
  }
}

/* ---- both kinds in one context ----------------------------------------------------------------------- */

/* Both kinds of device and one IOAS, nothing attached or mapped. */
static struct setup set_up_both(struct vdev* iommu) {
  struct setup s = {.iommufd = open_iommufd()};
  *iommu = open_and_bind(BEHIND_IOMMU, 0, s.iommufd);
  s.dev = open_and_bind(NOIOMMU, 0, s.iommufd);
  s.ioas = ioas_alloc(s.iommufd);
  return s;
}

TEST(N49, "one IOAS, IOMMU device first, noiommu device second: GET_PA is EOPNOTSUPP") {
  struct vdev iommu;
  const struct setup s = set_up_both(&iommu);
  uint32_t first = s.ioas, second = s.ioas;
  uint64_t length, phys;
  REQUIRE(CHECK_OK(attach(&iommu, &first)));
  REQUIRE(CHECK_OK(attach(&s.dev, &second)));
  CHECK_EQ(second, first); /* joins the real automatic HWPT */
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, pages(PAGE), PAGE, 0x10000)));
  CHECK_ERR(query_pa(&s, 0x10000, MAX, &length, &phys), EOPNOTSUPP);
}

TEST(N50, "one IOAS, noiommu device first, IOMMU device second: two HWPTs, GET_PA works") {
  struct vdev iommu;
  const struct setup s = set_up_both(&iommu);
  uint32_t first = s.ioas, second = s.ioas;
  uint64_t length, phys;
  REQUIRE(CHECK_OK(attach(&s.dev, &first)));
  REQUIRE(CHECK_OK(attach(&iommu, &second)));
  CHECK_NE(second, first);
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, pages(PAGE), PAGE, 0x10000)));
  CHECK_OK(query_pa(&s, 0x10000, MAX, &length, &phys));
}

TEST(X05, "an IOMMU device on a noiommu HWPT: EINVAL; when it is attached already: ENODEV, and it stays") {
  const struct setup s = set_up(true);
  struct vdev iommu = open_and_bind(BEHIND_IOMMU, 0, s.iommufd);
  uint32_t own = ioas_alloc(s.iommufd), again;
  CHECK_ERR(attach_to(&iommu, s.hwpt), EINVAL);
  REQUIRE(CHECK_OK(attach(&iommu, &own)));
  CHECK_ERR(attach_to(&iommu, s.hwpt), ENODEV);
  again = own;
  CHECK_OK(attach(&iommu, &again));
  CHECK_EQ(again, own);
}

TEST(X06, "replace of an IOMMU device to an IOAS with an automatic noiommu HWPT: ENODEV") {
  const struct setup s = set_up(true);
  struct vdev iommu = open_and_bind(BEHIND_IOMMU, 0, s.iommufd);
  uint32_t own = ioas_alloc(s.iommufd);
  REQUIRE(CHECK_OK(attach(&iommu, &own)));
  CHECK_ERR(attach_to(&iommu, s.ioas), ENODEV);
}

TEST(X07, "a noiommu device on the HWPT of an IOMMU device: accepted") {
  const struct setup s = set_up(false);
  struct vdev iommu = open_and_bind(BEHIND_IOMMU, 0, s.iommufd);
  uint32_t hwpt;
  REQUIRE(CHECK_OK(hwpt_alloc(s.iommufd, iommu.id, s.ioas, 0, &hwpt)));
  CHECK_OK(attach_to(&s.dev, hwpt));
  CHECK_ERR(destroy(s.iommufd, hwpt), EBUSY);
  CHECK_OK(detach(&s.dev));
  CHECK_OK(destroy(s.iommufd, hwpt));
}

TEST(X08, "a noiommu HWPT made before the IOMMU device attaches keeps GET_PA; one made after does not give it") {
  struct vdev iommu;
  const struct setup s = set_up_both(&iommu);
  uint32_t hwpt, other;
  uint64_t length, phys;
  REQUIRE(CHECK_OK(hwpt_alloc(s.iommufd, s.dev.id, s.ioas, 0, &hwpt)));
  REQUIRE(CHECK_OK(attach_to(&iommu, s.ioas)));
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, pages(PAGE), PAGE, 0x10000)));
  CHECK_OK(query_pa(&s, 0x10000, MAX, &length, &phys));
  /* The storage moves to the domain that remains. */
  REQUIRE(CHECK_OK(destroy(s.iommufd, hwpt)));
  CHECK_ERR(query_pa(&s, 0x10000, MAX, &length, &phys), EOPNOTSUPP);
  REQUIRE(CHECK_OK(hwpt_alloc(s.iommufd, s.dev.id, s.ioas, 0, &other)));
  CHECK_ERR(query_pa(&s, 0x10000, MAX, &length, &phys), EOPNOTSUPP);
  REQUIRE(CHECK_OK(detach(&iommu)));
  CHECK_OK(query_pa(&s, 0x10000, MAX, &length, &phys));
}

TEST(X09, "reserved regions of an IOMMU device apply to the IOAS that both use") {
  const struct window w = interrupt_window();
  const struct setup s = set_up(true);
  struct vdev iommu = open_and_bind(BEHIND_IOMMU, 0, s.iommufd);
  REQUIRE(CHECK_OK(attach_to(&iommu, s.ioas)));
  CHECK_ERR(map_fixed(s.iommufd, s.ioas, pages(PAGE), PAGE, w.start), EINVAL);
  REQUIRE(CHECK_OK(detach(&iommu)));
  CHECK_OK(map_fixed(s.iommufd, s.ioas, pages(PAGE), PAGE, w.start));
}

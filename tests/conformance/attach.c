/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices join page tables through VFIO, alone and in groups (spec iommufd-core 5, rows B01 to B23 of 7.8). How they leave is
 * in detach.c, what DMA may touch in dma.c.
 * Some rows need two devices behind one IOMMU, or two kinds of IOMMU, and are skipped elsewhere.
 */
#define _GNU_SOURCE
#include "uapi.h"

/* Two bound devices behind IOMMUs of the same or of different type. */
static void two_devices(int iommufd, bool same_type, struct vdev out[2]) {
  out[0] = open_and_bind(BEHIND_IOMMU, 0, iommufd);
  for (int nth = 1;; nth++) {
    struct vdev d = {.fd = -1};
    if (!find_device(BEHIND_IOMMU, nth, &d))
      SKIP("needs two devices behind %s", same_type ? "the same kind of IOMMU" : "different kinds of IOMMUs");
    d = open_and_bind(BEHIND_IOMMU, nth, iommufd);
    out[1] = d;
    if ((hw_info(iommufd, &out[0], NULL, 0).out_data_type == hw_info(iommufd, &d, NULL, 0).out_data_type) == same_type)
      return;
    close_kept(d.fd);
  }
}

/* ---- attach ------------------------------------------------------------------------------------------ */

SECTION("iommufd-core 5.4");

TEST(B01, "attach to a missing id: ENOENT") {
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, open_iommufd());
  CHECK_ERR(attach_to(&d, NO_ID), ENOENT);
  CHECK_ERR(attach_to(&d, 0), ENOENT);
}

TEST(B02, "attach to a DEVICE id: EINVAL") {
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, open_iommufd());
  CHECK_ERR(attach_to(&d, d.id), EINVAL);
}

SECTION("iommufd-core 5.6");

TEST(B03, "attach to an IOAS returns an automatic HWPT; ids are 1, 2, 3") {
  const int iommufd = open_iommufd();
  uint32_t ioas = ioas_alloc(iommufd), pt = ioas;
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, iommufd);
  REQUIRE(CHECK_OK(attach(&d, &pt)));
  CHECK_EQ(ioas, 1);
  CHECK_EQ(d.id, 2);
  CHECK_EQ(pt, 3);
}

TEST(B04, "a second device behind the same IOMMU shares the automatic HWPT") {
  const int iommufd = open_iommufd();
  uint32_t ioas = ioas_alloc(iommufd), first = ioas, second = ioas;
  struct vdev d[2];
  two_devices(iommufd, true, d);
  REQUIRE(CHECK_OK(attach(&d[0], &first)));
  REQUIRE(CHECK_OK(attach(&d[1], &second)));
  CHECK_EQ(first, second);
  CHECK_OK(detach(&d[0]));
  CHECK_ERR(destroy(iommufd, first), EBUSY);
  CHECK_OK(detach(&d[1]));
  CHECK_ERR(destroy(iommufd, first), ENOENT);
}

TEST(B04x, "devices behind different kinds of IOMMU get two HWPTs in one IOAS, and not each other's") {
  const int iommufd = open_iommufd();
  uint32_t ioas = ioas_alloc(iommufd), first = ioas, second = ioas, manual;
  struct vdev d[2];
  two_devices(iommufd, false, d);
  REQUIRE(CHECK_OK(hwpt_alloc(iommufd, d[0].id, ioas, 0, &manual)));
  CHECK_ERR(attach_to(&d[1], manual), EINVAL);
  REQUIRE(CHECK_OK(attach(&d[0], &first)));
  REQUIRE(CHECK_OK(attach(&d[1], &second)));
  CHECK_NE(first, second);
  CHECK_OK(map_fixed(iommufd, ioas, pages(4 * PAGE), 4 * PAGE, 0x100000));
  CHECK_OK(unmap(iommufd, ioas, 0x100000, 4 * PAGE));
}

TEST(B05, "a HWPT that was allocated is not picked by attach to its IOAS") {
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, iommufd);
  uint32_t ioas = ioas_alloc(iommufd), pt = ioas, manual;
  REQUIRE(CHECK_OK(hwpt_alloc(iommufd, d.id, ioas, 0, &manual)));
  REQUIRE(CHECK_OK(attach(&d, &pt)));
  CHECK_NE(pt, manual);
  CHECK_OK(detach(&d));
  CHECK_ERR(destroy(iommufd, pt), ENOENT); /* that one was automatic */
  CHECK_OK(destroy(iommufd, manual));
}

TEST(B06, "the last detach ends an automatic HWPT; ranges widen, the alignment drops") {
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, iommufd);
  uint32_t ioas = ioas_alloc(iommufd), pt = ioas;
  REQUIRE(CHECK_OK(attach(&d, &pt)));
  CHECK_ERR(destroy(iommufd, pt), EBUSY);
  REQUIRE(CHECK_OK(detach(&d)));
  CHECK_ERR(destroy(iommufd, pt), ENOENT);
  check_ranges(iommufd, ioas, 1, 1);
}

TEST(B07, "the last detach leaves an allocated HWPT, which attaching by id does not change") {
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, iommufd);
  uint32_t ioas = ioas_alloc(iommufd), manual, pt;
  REQUIRE(CHECK_OK(hwpt_alloc(iommufd, d.id, ioas, 0, &manual)));
  pt = manual;
  REQUIRE(CHECK_OK(attach(&d, &pt)));
  CHECK_EQ(pt, manual);
  REQUIRE(CHECK_OK(detach(&d)));
  CHECK_OK(destroy(iommufd, manual));
}

SECTION("iommufd-core 4.9");

/* Where the aperture of the device's IOMMU ends, asked of an IOAS of its own. */
static uint64_t probe_aperture(int iommufd, const struct vdev* d) {
  const uint32_t ioas = ioas_alloc(iommufd);
  uint32_t hwpt;
  REQUIRE(CHECK_OK(hwpt_alloc(iommufd, d->id, ioas, 0, &hwpt)));
  return end_of_aperture(iommufd, ioas);
}

TEST(B08, "an area behind the aperture: attach is EADDRINUSE") {
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, iommufd);
  const uint32_t ioas = ioas_alloc(iommufd);
  const uint64_t end = probe_aperture(iommufd, &d);
  uint32_t hwpt;
  REQUIRE(CHECK_OK(map_fixed(iommufd, ioas, pages(PAGE), PAGE, end + 1)));
  CHECK_ERR(attach_to(&d, ioas), EADDRINUSE);
  CHECK_ERR(hwpt_alloc(iommufd, d.id, ioas, 0, &hwpt), EADDRINUSE);
  check_ranges(iommufd, ioas, 1, 1);
}

TEST(B11, "an allowed range that ends behind the aperture: attach is EADDRINUSE") {
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, iommufd);
  const uint32_t ioas = ioas_alloc(iommufd);
  const uint64_t end = probe_aperture(iommufd, &d);
  struct iommu_iova_range allowed = {end, end + 1};
  REQUIRE(CHECK_OK(allow_iovas(iommufd, ioas, &allowed, 1)));
  CHECK_ERR(attach_to(&d, ioas), EADDRINUSE);
  check_ranges(iommufd, ioas, 1, 1);
  allowed = (struct iommu_iova_range){end - 1, end};
  REQUIRE(CHECK_OK(allow_iovas(iommufd, ioas, &allowed, 1)));
  CHECK_OK(attach_to(&d, ioas));
}

/* An area that does not fit the page size of the domain: nothing is changed by the failed attach. */
static void attach_with_area(uint64_t va_offset, uint64_t length, uint64_t iova) {
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, iommufd);
  const uint32_t ioas = ioas_alloc(iommufd);
  REQUIRE(CHECK_OK(map_fixed(iommufd, ioas, pages(2 * PAGE) + va_offset, length, iova)));
  CHECK_ERR(attach_to(&d, ioas), EADDRINUSE);
  check_ranges(iommufd, ioas, 1, 1);
}

TEST(B09, "an area whose length is no multiple of the page: attach is EADDRINUSE") {
  attach_with_area(0, 100, 0x10000);
}
TEST(B10, "an area whose address is misaligned: attach is EADDRINUSE") { attach_with_area(0x800, PAGE, 0x10000); }
TEST(B10i, "an area whose IOVA is misaligned: attach is EADDRINUSE") { attach_with_area(0, PAGE, 0x10800); }
TEST(B16, "an attached device's reserved region cannot be mapped, a HWPT alone has none") {
  const struct window w = interrupt_window();
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, iommufd);
  const uint32_t ioas = ioas_alloc(iommufd);
  uint32_t hwpt;
  REQUIRE(CHECK_OK(hwpt_alloc(iommufd, d.id, ioas, 0, &hwpt)));
  REQUIRE(CHECK_OK(map_fixed(iommufd, ioas, pages(PAGE), PAGE, w.last + 1 - PAGE)));
  REQUIRE(CHECK_OK(unmap(iommufd, ioas, w.last + 1 - PAGE, PAGE)));
  REQUIRE(CHECK_OK(attach_to(&d, hwpt)));
  CHECK_ERR(map_fixed(iommufd, ioas, pages(PAGE), PAGE, w.start), EINVAL);
  CHECK_ERR(map_fixed(iommufd, ioas, pages(PAGE), PAGE, w.last + 1 - PAGE), EINVAL);
}

TEST(B15, "an area in a reserved region of the device: attach is EADDRINUSE") {
  attach_with_area(0, PAGE, interrupt_window().start);
}

static void attach_over_bad_memory(enum kind kind) {
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(kind, 0, iommufd);
  const uint32_t ioas = ioas_alloc(iommufd);
  uint32_t hwpt;
  REQUIRE(CHECK_OK(map_fixed(iommufd, ioas, pages(PAGE), PAGE, 0x10000)));
  REQUIRE(CHECK_OK(map_fixed(iommufd, ioas, no_page(), PAGE, 0x20000)));
  CHECK_ERR(attach_to(&d, ioas), EFAULT);
  CHECK_ERR(hwpt_alloc(iommufd, d.id, ioas, 0, &hwpt), EFAULT);
  check_ranges(iommufd, ioas, 1, 1);
  REQUIRE(CHECK_OK(unmap(iommufd, ioas, 0x20000, PAGE)));
  CHECK_OK(attach_to(&d, ioas));
}

TEST(B12, "an area of memory that is not there: attach is EFAULT, nothing changes") {
  attach_over_bad_memory(BEHIND_IOMMU);
}
TEST(B12n, "the same with a noiommu device") { attach_over_bad_memory(NOIOMMU); }

static void attach_over_dead_process(enum kind kind) {
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(kind, 0, iommufd);
  const uint32_t ioas = ioas_alloc(iommufd);
  map_by_child(iommufd, ioas, pages(PAGE), PAGE, 0x10000);
  CHECK_ERR(attach_to(&d, ioas), EFAULT);
  CHECK_OK(unmap(iommufd, ioas, 0x10000, PAGE));
  CHECK_OK(attach_to(&d, ioas));
}

TEST(B13, "an area mapped by a process that is gone: attach is EFAULT") { attach_over_dead_process(BEHIND_IOMMU); }
TEST(B13n, "the same with a noiommu device") { attach_over_dead_process(NOIOMMU); }

/* ---- replace ----------------------------------------------------------------------------------------- */

SECTION("iommufd-core 5.7");

TEST(B17, "replace to the same IOAS: ok, same HWPT") {
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, iommufd);
  uint32_t ioas = ioas_alloc(iommufd), first = ioas, second = ioas;
  REQUIRE(CHECK_OK(attach(&d, &first)));
  CHECK_OK(attach(&d, &second));
  CHECK_EQ(first, second);
}

TEST(B18, "replace to another IOAS: the old automatic HWPT is gone, reserved regions move") {
  const struct window w = interrupt_window();
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, iommufd);
  const uint32_t ioas = ioas_alloc(iommufd), other = ioas_alloc(iommufd);
  uint32_t first = ioas, second = other;
  REQUIRE(CHECK_OK(attach(&d, &first)));
  REQUIRE(CHECK_OK(attach(&d, &second)));
  CHECK_NE(second, first);
  CHECK_ERR(destroy(iommufd, first), ENOENT);
  CHECK_OK(map_fixed(iommufd, ioas, pages(PAGE), PAGE, w.start));
  CHECK_ERR(map_fixed(iommufd, other, pages(PAGE), PAGE, w.start), EINVAL);
  CHECK_OK(destroy(iommufd, ioas));
}

TEST(B19, "replace to a missing id: ENOENT; to a DEVICE: EINVAL") {
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, iommufd);
  uint32_t pt = ioas_alloc(iommufd);
  REQUIRE(CHECK_OK(attach(&d, &pt)));
  CHECK_ERR(attach_to(&d, NO_ID), ENOENT);
  CHECK_ERR(attach_to(&d, d.id), EINVAL);
  CHECK_ERR(destroy(iommufd, pt), EBUSY);
}

TEST(B20, "replace to an IOAS that cannot be filled: EFAULT; to one in the way: EADDRINUSE; the old one stays") {
  const struct window w = interrupt_window();
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, iommufd);
  const uint32_t bad = ioas_alloc(iommufd), taken = ioas_alloc(iommufd);
  uint32_t ioas = ioas_alloc(iommufd), pt = ioas, again = ioas;
  REQUIRE(CHECK_OK(map_fixed(iommufd, bad, no_page(), PAGE, 0x10000)));
  REQUIRE(CHECK_OK(map_fixed(iommufd, taken, pages(PAGE), PAGE, w.start)));
  REQUIRE(CHECK_OK(attach(&d, &pt)));
  CHECK_ERR(attach_to(&d, bad), EFAULT);
  CHECK_ERR(attach_to(&d, taken), EADDRINUSE);
  CHECK_OK(attach(&d, &again));
  CHECK_EQ(again, pt);
}

TEST(B20b, "replace between two allocated HWPTs of one IOAS") {
  const struct window w = interrupt_window();
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, iommufd);
  const uint32_t ioas = ioas_alloc(iommufd);
  uint32_t a, b;
  REQUIRE(CHECK_OK(hwpt_alloc(iommufd, d.id, ioas, 0, &a)));
  REQUIRE(CHECK_OK(hwpt_alloc(iommufd, d.id, ioas, 0, &b)));
  REQUIRE(CHECK_OK(attach_to(&d, a)));
  CHECK_OK(attach_to(&d, b));
  CHECK_OK(destroy(iommufd, a));
  CHECK_ERR(destroy(iommufd, b), EBUSY);
  CHECK_ERR(map_fixed(iommufd, ioas, pages(PAGE), PAGE, w.start), EINVAL);
}

TEST(B20c, "a failed replace within one IOAS keeps the reserved regions of the device (the kernel loses them)") {
  const struct window w = interrupt_window();
  const int iommufd = open_iommufd();
  const uint32_t ioas = ioas_alloc(iommufd);
  uint32_t foreign;
  struct vdev d[2];
  two_devices(iommufd, false, d);
  REQUIRE(CHECK_OK(attach_to(&d[0], ioas)));
  REQUIRE(CHECK_OK(hwpt_alloc(iommufd, d[1].id, ioas, 0, &foreign)));
  CHECK_ERR(attach_to(&d[0], foreign), EINVAL);
  CHECK_ERR(map_fixed(iommufd, ioas, pages(PAGE), PAGE, w.start), known(0, EINVAL));
}

/* ---- several devices in one group -------------------------------------------------------------------- */

SECTION("iommufd-core 5.1");

static bool same_group(const struct vdev* a, const struct vdev* b) {
  char path[PATH_MAX], first[PATH_MAX] = "", second[PATH_MAX] = "";
  snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", a->bdf);
  if (readlink(path, first, sizeof(first) - 1) < 0) return false;
  snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", b->bdf);
  return readlink(path, second, sizeof(second) - 1) >= 0 && strcmp(first, second) == 0;
}

/* Opens two devices of one group; none is bound. */
static void open_siblings(struct vdev out[2]) {
  struct vdev a = {.fd = -1}, b = {.fd = -1};
  for (int i = 0; find_device(BEHIND_IOMMU, i, &a); i++)
    for (int j = i + 1; find_device(BEHIND_IOMMU, j, &b); j++)
      if (same_group(&a, &b)) {
        out[0] = open_nth(BEHIND_IOMMU, i);
        out[1] = open_nth(BEHIND_IOMMU, j);
        return;
      }
  SKIP("needs two devices in one group");
}

TEST(B21, "two contexts cannot share a group: the second bind is EPERM, until the first device is closed") {
  const int first = open_iommufd(), second = open_iommufd();
  struct vdev d[2];
  open_siblings(d);
  REQUIRE(CHECK_OK(bind_to(&d[0], first)));
  CHECK_ERR(bind_to(&d[1], second), EPERM);
  close_kept(d[0].fd);
  CHECK_OK(bind_to(&d[1], second));
}

SECTION("iommufd-core 5.5");

TEST(B22, "a sibling of an attached device cannot attach elsewhere: EINVAL") {
  const int iommufd = open_iommufd();
  const uint32_t ioas = ioas_alloc(iommufd), other = ioas_alloc(iommufd);
  uint32_t pt = ioas, same = ioas, manual;
  struct vdev d[2];
  open_siblings(d);
  REQUIRE(CHECK_OK(bind_to(&d[0], iommufd)));
  REQUIRE(CHECK_OK(bind_to(&d[1], iommufd)));
  REQUIRE(CHECK_OK(attach(&d[0], &pt)));
  REQUIRE(CHECK_OK(hwpt_alloc(iommufd, d[1].id, ioas, 0, &manual)));
  CHECK_ERR(attach_to(&d[1], other), EINVAL);
  CHECK_ERR(attach_to(&d[1], manual), EINVAL);
  CHECK_OK(attach(&d[1], &same));
  CHECK_EQ(same, pt);
}

SECTION("iommufd-core 5.7");

TEST(B23, "replace on one device of a group moves all") {
  const int iommufd = open_iommufd();
  const uint32_t ioas = ioas_alloc(iommufd), other = ioas_alloc(iommufd);
  uint32_t pt = ioas, moved = other, asked = other;
  struct vdev d[2];
  open_siblings(d);
  REQUIRE(CHECK_OK(bind_to(&d[0], iommufd)));
  REQUIRE(CHECK_OK(bind_to(&d[1], iommufd)));
  REQUIRE(CHECK_OK(attach(&d[0], &pt)));
  REQUIRE(CHECK_OK(attach_to(&d[1], ioas)));
  REQUIRE(CHECK_OK(attach(&d[0], &moved)));
  CHECK_ERR(destroy(iommufd, pt), ENOENT);
  CHECK_OK(attach(&d[1], &asked)); /* is there already */
  CHECK_EQ(asked, moved);
  CHECK_OK(destroy(iommufd, ioas));
}

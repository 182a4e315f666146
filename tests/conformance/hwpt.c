/* SPDX-License-Identifier: BSD-3-Clause */
/* HWPT_ALLOC and GET_HW_INFO behind an IOMMU (spec iommufd-core A.1 and A.5). */
#define _GNU_SOURCE
#include "uapi.h"

SECTION("iommufd-core A.1");

TEST(H01, "HWPT_ALLOC: the checks in order") {
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, iommufd);
  struct iommu_hwpt_alloc cmd = {.size = sizeof(cmd), .flags = 0x10, .dev_id = NO_ID, .pt_id = NO_ID, .data_len = 8};
  cmd.__reserved = 1;
  CHECK_ERR(ioctl(iommufd, IOMMU_HWPT_ALLOC, &cmd), EOPNOTSUPP);
  cmd.__reserved = 0;
  CHECK_ERR(ioctl(iommufd, IOMMU_HWPT_ALLOC, &cmd), EINVAL); /* type NONE with a length */
  cmd.data_len = 0;
  CHECK_ERR(ioctl(iommufd, IOMMU_HWPT_ALLOC, &cmd), ENOENT); /* dev_id */
  cmd.dev_id = d.id;
  CHECK_ERR(ioctl(iommufd, IOMMU_HWPT_ALLOC, &cmd), EINVAL); /* pt_id */
  cmd.pt_id = d.id;
  CHECK_ERR(ioctl(iommufd, IOMMU_HWPT_ALLOC, &cmd), EINVAL); /* not a page table */
  cmd.pt_id = ioas_alloc(iommufd);
  CHECK_ERR(ioctl(iommufd, IOMMU_HWPT_ALLOC, &cmd), EOPNOTSUPP); /* flags, late */
  cmd.flags = IOMMU_HWPT_FAULT_ID_VALID | IOMMU_HWPT_ALLOC_NEST_PARENT;
  CHECK_ERR(ioctl(iommufd, IOMMU_HWPT_ALLOC, &cmd), EOPNOTSUPP);
  cmd.flags = 0;
  cmd.__reserved2 = 1;
  CHECK_OK(ioctl(iommufd, IOMMU_HWPT_ALLOC, &cmd)); /* never checked */
}

TEST(H02, "HWPT_ALLOC joins the IOAS at once: alignment and pinning") {
  const struct window w = interrupt_window();
  const int iommufd = open_iommufd();
  const uint32_t ioas = ioas_alloc(iommufd);
  add_domain(iommufd, ioas, BEHIND_IOMMU);
  CHECK_EQ(all_ranges(iommufd, ioas).alignment, PAGE);
  CHECK_ERR(map_fixed(iommufd, ioas, no_page(), PAGE, 0x10000), EFAULT);
  /* Reserved regions belong to a device, and none is attached. */
  CHECK_OK(map_fixed(iommufd, ioas, pages(PAGE), PAGE, w.start));
}

SECTION("iommufd-core A.5");

TEST(H03, "GET_HW_INFO: flags and reserved before the device id") {
  const int iommufd = open_iommufd();
  struct iommu_hw_info cmd = {.size = sizeof(cmd), .flags = 2, .dev_id = NO_ID};
  CHECK_ERR(ioctl(iommufd, IOMMU_GET_HW_INFO, &cmd), EOPNOTSUPP);
  for (int i = 0; i < 3; i++) {
    cmd = (struct iommu_hw_info){.size = sizeof(cmd), .dev_id = NO_ID};
    cmd.__reserved[i] = 1;
    CHECK_ERR(ioctl(iommufd, IOMMU_GET_HW_INFO, &cmd), EOPNOTSUPP);
  }
  cmd = (struct iommu_hw_info){.size = sizeof(cmd), .dev_id = NO_ID};
  CHECK_ERR(ioctl(iommufd, IOMMU_GET_HW_INFO, &cmd), ENOENT);
}

TEST(H04, "GET_HW_INFO: data as long as there is room, zeros behind it, the full length returned") {
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, iommufd);
  uint8_t data[64], part[8];
  struct iommu_hw_info full, cmd;
  memset(data, 0x5a, sizeof(data));
  full = hw_info(iommufd, &d, data, sizeof(data));
  static const uint32_t lengths[] = {[IOMMU_HW_INFO_TYPE_NONE] = 0,
                                     [IOMMU_HW_INFO_TYPE_INTEL_VTD] = 24,
                                     [IOMMU_HW_INFO_TYPE_ARM_SMMUV3] = 40,
                                     [IOMMU_HW_INFO_TYPE_AMD] = 16};
  REQUIRE(CHECK(full.out_data_type < sizeof(lengths) / sizeof(*lengths)));
  CHECK_EQ(full.data_len, lengths[full.out_data_type]);
  for (uint32_t i = full.data_len; i < sizeof(data); i++) CHECK_EQ(data[i], 0);
  memset(part, 0x5a, sizeof(part));
  cmd = hw_info(iommufd, &d, part, 4);
  CHECK_EQ(cmd.data_len, full.data_len);
  CHECK(memcmp(part, data, 4) == 0);
  CHECK_EQ(part[4], 0x5a);
  cmd = hw_info(iommufd, &d, NULL, 0);
  CHECK_EQ(cmd.data_len, full.data_len);
  cmd = (struct iommu_hw_info){.size = sizeof(cmd), .dev_id = d.id, .data_len = 64, .data_uptr = (uintptr_t)no_page()};
  CHECK_ERR(ioctl(iommufd, IOMMU_GET_HW_INFO, &cmd), EFAULT);
}

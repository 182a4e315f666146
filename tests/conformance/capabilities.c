/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What needs a capability, without it: rows 4, 14 and 31 of the noiommu checklist (spec noiommu, 17), and O05 of OPTION
 * (spec iommufd-core 3.9). The program opens the noiommu device while it may, then gives up all capabilities.
 */
#define _GNU_SOURCE
#include <linux/capability.h>
#include <sys/syscall.h>

#include "uapi.h"

static int early_fd = -1;

__attribute__((constructor)) static void open_then_drop(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
  struct vdev d;
  if (find_device(NOIOMMU, 0, &d)) early_fd = open_node(d.name, O_RDWR);
  if (syscall(SYS_capset, &header, none) != 0) perror("# capset");
}

SECTION("noiommu 17");

TEST(N04, "open without CAP_SYS_RAWIO: EPERM") {
  struct vdev d;
  if (!find_device(NOIOMMU, 0, &d)) SKIP("needs a device without an IOMMU");
  CHECK_ERR(keep(open_node(d.name, O_RDWR)), EPERM);
  CHECK_ERR(keep(open_node(d.name, O_RDONLY)), EPERM);
}

TEST(N04i, "a device behind an IOMMU opens without it") { CHECK_OK(open_device(BEHIND_IOMMU).fd); }

TEST(N31, "GET_PA without CAP_SYS_RAWIO, all arguments bad: EPERM; the size is checked before") {
  const int iommufd = open_iommufd();
  struct iommu_ioas_noiommu_get_pa cmd = {
      .size = sizeof(cmd), .flags = 1, .ioas_id = NO_ID, .__reserved = 1, .iova = MAX, .length = 0};
  CHECK_ERR(ioctl(iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &cmd), EPERM);
  cmd.size = 39;
  CHECK_ERR(ioctl(iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &cmd), EINVAL);
  CHECK_ERR(ioctl(iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, NULL), EFAULT);
}

TEST(N14, "CAP_SYS_RAWIO dropped after open: BIND and ATTACH succeed, GET_PA does not") {
  const int iommufd = open_iommufd();
  struct vdev d = {.fd = early_fd};
  const uint32_t ioas = ioas_alloc(iommufd);
  uint64_t length = MAX, phys;
  if (early_fd < 0) SKIP("the device could not be opened before either");
  REQUIRE(CHECK_OK(bind_to(&d, iommufd)));
  REQUIRE(CHECK_OK(attach_to(&d, ioas)));
  REQUIRE(CHECK_OK(map_fixed(iommufd, ioas, pages(PAGE), PAGE, 0x10000)));
  CHECK_ERR(get_pa(iommufd, ioas, 0x10000, &length, &phys), EPERM);
  CHECK_OK(detach(&d));
}

SECTION("iommufd-core 3.9");

TEST(O05, "RLIMIT_MODE SET without CAP_SYS_RESOURCE: EPERM, any value, any state; GET works") {
  const int iommufd = open_iommufd();
  struct iommu_option cmd = {
      .size = sizeof(cmd), .option_id = IOMMU_OPTION_RLIMIT_MODE, .op = IOMMU_OPTION_OP_SET, .val64 = 5};
  CHECK_ERR(ioctl(iommufd, IOMMU_OPTION, &cmd), EPERM);
  ioas_alloc(iommufd);
  CHECK_ERR(ioctl(iommufd, IOMMU_OPTION, &cmd), EPERM);
  cmd.op = IOMMU_OPTION_OP_GET;
  CHECK_OK(ioctl(iommufd, IOMMU_OPTION, &cmd));
}

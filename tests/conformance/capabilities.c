/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What needs a capability, without it: rows 4, 14 and 31 of the noiommu checklist (spec noiommu, 17), and O05 of OPTION
 * (spec iommufd-core 3.9). The program opens the noiommu device while it may, then gives up all capabilities.
 */
#define _GNU_SOURCE
#include <linux/capability.h>
#include <sys/syscall.h>

#include "group.h"

static int early_fd = -1, early_container = -1; /* a group without an IOMMU was in it */

__attribute__((constructor)) static void open_then_drop(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
  struct vdev d;
  if (find_device(NOIOMMU, 0, &d)) {
    const int group = open_group_of(&d, NOIOMMU), container = open("/dev/iommu", O_RDWR | O_CLOEXEC);
    early_fd = open_node(d.name, O_RDWR);
    if (group >= 0 && set_container(group, container) == 0) early_container = container;
    if (group >= 0) close(group);
  }
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

SECTION("iommufd-core 6.3");

TEST(T30, "SET_IOMMU 8 without CAP_SYS_RAWIO: EPERM") {
  if (early_container < 0) SKIP("the group could not be opened before either");
  CHECK_ERR(ioctl(early_container, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU), EPERM);
}

TEST(J15, "a group without an IOMMU opens with it only; one behind an IOMMU without") {
  struct vdev d;
  if (!find_device(NOIOMMU, 0, &d)) SKIP("needs a device without an IOMMU");
  CHECK_ERR(keep(open_group_of(&d, NOIOMMU)), EPERM);
  if (find_device(BEHIND_IOMMU, 0, &d)) CHECK_OK(keep(open_group_of(&d, BEHIND_IOMMU)));
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

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * noiommu mode of Linux 7.3: the rows of the checklist (spec noiommu, 17) that need no group file and no change of
 * capabilities, apart from physical addresses (noiommu_pa.c). N<row> is a row; the X tests pin what the sections before it
 * say. Needs a device without an IOMMU, some tests also one behind an IOMMU, and CAP_SYS_RAWIO. Rows about capabilities:
 * capabilities.c.
 */
#define _GNU_SOURCE
#include <linux/pci_regs.h>
#include <sys/eventfd.h>
#include <sys/sysmacros.h>

#include "noiommu.h"

/* ---- node and binding -------------------------------------------------------------------------------- */

SECTION("noiommu 17");

TEST(N02, "bound with the parameter on: vfio-dev/noiommu-vfioN with dev, and its node") {
  char path[PATH_MAX], text[64];
  struct vdev d = open_device(NOIOMMU);
  unsigned major_number = 0, minor_number = 0;
  struct stat st;
  CHECK(strncmp(d.name, "noiommu-vfio", 12) == 0);
  snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev/%s/dev", d.bdf, d.name);
  REQUIRE(CHECK(read_text(path, text, sizeof(text))));
  CHECK_EQ(sscanf(text, "%u:%u", &major_number, &minor_number), 2);
  REQUIRE(CHECK_OK(fstat(d.fd, &st)));
  CHECK(S_ISCHR(st.st_mode));
  CHECK_EQ(st.st_rdev, makedev(major_number, minor_number));
  REQUIRE(CHECK(read_text("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", text, sizeof(text))));
  CHECK(strcmp(text, "Y") == 0);
}

TEST(N03, "a device behind an IOMMU is vfioN, with the parameter on too") {
  struct vdev d = open_device(BEHIND_IOMMU);
  CHECK(strncmp(d.name, "vfio", 4) == 0);
}

TEST(N05, "open with CAP_SYS_RAWIO") { CHECK_OK(open_device(NOIOMMU).fd); }

TEST(N06, "GET_INFO before BIND: EINVAL") {
  struct vfio_device_info info = {.argsz = sizeof(info)};
  CHECK_ERR(ioctl(open_device(NOIOMMU).fd, VFIO_DEVICE_GET_INFO, &info), EINVAL);
}

TEST(N07, "BIND with iommufd = -2: EINVAL") {
  struct vdev d = open_device(NOIOMMU);
  CHECK_ERR(bind_to(&d, -2), EINVAL);
}

TEST(N08, "BIND with a closed descriptor: EBADF") {
  struct vdev d = open_device(NOIOMMU);
  const int closed = open_iommufd();
  close_kept(closed);
  CHECK_ERR(bind_to(&d, closed), EBADF);
}

TEST(N09, "BIND with some other file: EBADFD") {
  struct vdev d = open_device(NOIOMMU);
  CHECK_ERR(bind_to(&d, keep(open("/dev/null", O_RDWR | O_CLOEXEC))), EBADFD);
  CHECK_ERR(bind_to(&d, keep(eventfd(0, EFD_CLOEXEC))), EBADFD);
  CHECK_ERR(bind_to(&d, d.fd), EBADFD);
}

TEST(N10, "BIND: 0 and an id") {
  struct vdev d = open_and_bind(NOIOMMU, 0, open_iommufd());
  CHECK_NE(d.id, 0);
}

TEST(N11, "BIND again, on the same and on a second descriptor: EINVAL") {
  const int iommufd = open_iommufd();
  struct vdev d = open_and_bind(NOIOMMU, 0, iommufd), second = open_device(NOIOMMU);
  CHECK_ERR(bind_to(&d, iommufd), EINVAL);
  CHECK_ERR(bind_to(&second, iommufd), EINVAL);
  CHECK_ERR(bind_to(&second, open_iommufd()), EINVAL);
}

/* ---- information and lifetime ------------------------------------------------------------------------ */

TEST(N15, "GET_HW_INFO: EOPNOTSUPP, nothing written") {
  const struct setup s = set_up(false);
  uint8_t buffer[64];
  struct iommu_hw_info cmd = {
      .size = sizeof(cmd), .dev_id = s.dev.id, .data_len = sizeof(buffer), .data_uptr = (uintptr_t)buffer};
  const struct iommu_hw_info before = cmd;
  memset(buffer, 0x5a, sizeof(buffer));
  CHECK_ERR(ioctl(s.iommufd, IOMMU_GET_HW_INFO, &cmd), EOPNOTSUPP);
  CHECK(memcmp(&cmd, &before, sizeof(cmd)) == 0);
  CHECK_EQ(buffer[0], 0x5a);
  cmd.dev_id = NO_ID;
  CHECK_ERR(ioctl(s.iommufd, IOMMU_GET_HW_INFO, &cmd), ENOENT);
  cmd.flags = 2;
  CHECK_ERR(ioctl(s.iommufd, IOMMU_GET_HW_INFO, &cmd), EOPNOTSUPP);
}

TEST(N16, "DESTROY of the bound device: EBUSY") {
  const struct setup s = set_up(false);
  CHECK_ERR(destroy(s.iommufd, s.dev.id), EBUSY);
}

/* ---- attach, replace, detach ------------------------------------------------------------------------- */

TEST(N17, "ATTACH to an unknown id: ENOENT") {
  const struct setup s = set_up(false);
  CHECK_ERR(attach_to(&s.dev, NO_ID), ENOENT);
  CHECK_ERR(attach_to(&s.dev, 0), ENOENT);
}

TEST(N18, "ATTACH to a DEVICE id: EINVAL") {
  const struct setup s = set_up(false);
  CHECK_ERR(attach_to(&s.dev, s.dev.id), EINVAL);
}

TEST(N19, "ATTACH to an IOAS returns the id of a HWPT") {
  const struct setup s = set_up(true);
  CHECK_NE(s.hwpt, s.ioas);
  CHECK_ERR(destroy(s.iommufd, s.hwpt), EBUSY);
  CHECK_ERR(destroy(s.iommufd, s.ioas), EBUSY);
}

TEST(N20, "ATTACH to a second IOAS replaces, and the first automatic HWPT is gone") {
  const struct setup s = set_up(true);
  const uint32_t other = ioas_alloc(s.iommufd);
  uint32_t pt = other;
  CHECK_OK(attach(&s.dev, &pt));
  CHECK_NE(pt, other);
  CHECK_NE(pt, s.hwpt);
  CHECK_ERR(destroy(s.iommufd, s.hwpt), ENOENT);
  CHECK_OK(destroy(s.iommufd, s.ioas));
}

TEST(N21, "IOVA_RANGES after attach: all of it, alignment 4096") {
  const struct setup s = set_up(true);
  const struct ranges r = all_ranges(s.iommufd, s.ioas);
  CHECK_EQ(r.num, 1);
  CHECK_EQ(r.at[0].start, 0);
  CHECK_EQ(r.at[0].last, MAX);
  CHECK_EQ(r.alignment, 4096);
}

TEST(N22, "a mapping of 512 bytes, then attach: EADDRINUSE") {
  const struct setup s = set_up(false);
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, pages(PAGE), 512, 0x800200)));
  CHECK_ERR(attach_to(&s.dev, s.ioas), EADDRINUSE);
  REQUIRE(CHECK_OK(unmap(s.iommufd, s.ioas, 0x800200, 512)));
  CHECK_OK(attach_to(&s.dev, s.ioas));
}

TEST(N23, "ATTACH with a PASID to an IOAS: EINVAL") {
  const struct setup s = set_up(false);
  uint32_t pt = s.ioas;
  CHECK_ERR(attach_full(&s.dev, VFIO_DEVICE_ATTACH_PASID, 1, &pt), EINVAL);
}

TEST(N24, "DETACH twice: 0 and 0") {
  const struct setup s = set_up(true);
  CHECK_OK(detach(&s.dev));
  CHECK_OK(detach(&s.dev));
  CHECK_ERR(destroy(s.iommufd, s.hwpt), ENOENT);
}

/* ---- HWPT_ALLOC -------------------------------------------------------------------------------------- */

TEST(N25, "HWPT_ALLOC without flags: a HWPT that devices attach to and that stays") {
  const struct setup s = set_up(false);
  uint32_t hwpt, pt;
  REQUIRE(CHECK_OK(hwpt_alloc(s.iommufd, s.dev.id, s.ioas, 0, &hwpt)));
  pt = hwpt;
  CHECK_OK(attach(&s.dev, &pt));
  CHECK_EQ(pt, hwpt);
  CHECK_ERR(destroy(s.iommufd, hwpt), EBUSY);
  CHECK_OK(detach(&s.dev));
  CHECK_OK(destroy(s.iommufd, hwpt));
}

TEST(N26, "HWPT_ALLOC with NEST_PARENT, DIRTY_TRACKING, PASID, unknown flags or data: EOPNOTSUPP") {
  const struct setup s = set_up(false);
  uint64_t data[4] = {0};
  struct iommu_hwpt_alloc cmd = {.size = sizeof(cmd), .dev_id = s.dev.id, .pt_id = s.ioas};
  const uint32_t flags[] = {IOMMU_HWPT_ALLOC_NEST_PARENT,
                            IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
                            IOMMU_HWPT_ALLOC_PASID,
                            IOMMU_HWPT_FAULT_ID_VALID | IOMMU_HWPT_ALLOC_NEST_PARENT,
                            0x10,
                            0x80000000};
  for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
    cmd.flags = flags[i];
    if (!CHECK_ERR(ioctl(s.iommufd, IOMMU_HWPT_ALLOC, &cmd), EOPNOTSUPP)) note("flags %#x", flags[i]);
  }
  cmd.flags = 0;
  cmd.data_type = IOMMU_HWPT_DATA_VTD_S1;
  cmd.data_len = sizeof(data);
  cmd.data_uptr = (uintptr_t)data;
  CHECK_ERR(ioctl(s.iommufd, IOMMU_HWPT_ALLOC, &cmd), EOPNOTSUPP);
}

TEST(N26b, "HWPT_ALLOC checks that come before the device: reserved, data length, ids") {
  const struct setup s = set_up(false);
  struct iommu_hwpt_alloc cmd = {.size = sizeof(cmd), .dev_id = NO_ID, .pt_id = NO_ID, .data_len = 8, .__reserved = 1};
  CHECK_ERR(ioctl(s.iommufd, IOMMU_HWPT_ALLOC, &cmd), EOPNOTSUPP);
  cmd.__reserved = 0;
  CHECK_ERR(ioctl(s.iommufd, IOMMU_HWPT_ALLOC, &cmd), EINVAL); /* type NONE with a length */
  cmd.data_type = IOMMU_HWPT_DATA_VTD_S1;
  cmd.data_len = 0;
  CHECK_ERR(ioctl(s.iommufd, IOMMU_HWPT_ALLOC, &cmd), EINVAL); /* a type without a length */
  cmd.data_type = IOMMU_HWPT_DATA_NONE;
  CHECK_ERR(ioctl(s.iommufd, IOMMU_HWPT_ALLOC, &cmd), ENOENT); /* dev_id */
  cmd.dev_id = s.dev.id;
  CHECK_ERR(ioctl(s.iommufd, IOMMU_HWPT_ALLOC, &cmd), EINVAL); /* pt_id */
  cmd.pt_id = s.dev.id;
  CHECK_ERR(ioctl(s.iommufd, IOMMU_HWPT_ALLOC, &cmd), EINVAL); /* a DEVICE is no page table */
  cmd.pt_id = s.ioas;
  cmd.__reserved2 = 1;
  CHECK_OK(ioctl(s.iommufd, IOMMU_HWPT_ALLOC, &cmd)); /* never checked */
}

TEST(N27, "HWPT_ALLOC on a HWPT: EOPNOTSUPP") {
  const struct setup s = set_up(false);
  uint32_t parent, child;
  REQUIRE(CHECK_OK(hwpt_alloc(s.iommufd, s.dev.id, s.ioas, 0, &parent)));
  CHECK_ERR(hwpt_alloc(s.iommufd, s.dev.id, parent, 0, &child), EOPNOTSUPP);
}

TEST(N28, "HWPT_ALLOC FAULT_ID_VALID with a bad fault id: ENOENT, id not leaked") {
  const struct setup s = set_up(false);
  struct iommu_hwpt_alloc cmd = {
      .size = sizeof(cmd), .flags = IOMMU_HWPT_FAULT_ID_VALID, .dev_id = s.dev.id, .pt_id = s.ioas, .fault_id = NO_ID};
  uint32_t first, second;
  REQUIRE(CHECK_OK(hwpt_alloc(s.iommufd, s.dev.id, s.ioas, 0, &first)));
  REQUIRE(CHECK_OK(destroy(s.iommufd, first)));
  CHECK_ERR(ioctl(s.iommufd, IOMMU_HWPT_ALLOC, &cmd), ENOENT);
  REQUIRE(CHECK_OK(hwpt_alloc(s.iommufd, s.dev.id, s.ioas, 0, &second)));
  CHECK_EQ(second, first);
}

TEST(N29, "SET_DIRTY_TRACKING and GET_DIRTY_BITMAP (valid range): EOPNOTSUPP, after the checks of arguments") {
  const struct setup s = set_up(true);
  uint64_t bitmap = 0;
  struct iommu_hwpt_set_dirty_tracking set = {
      .size = sizeof(set), .flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE, .hwpt_id = s.hwpt};
  struct iommu_hwpt_get_dirty_bitmap get = {.size = sizeof(get),
                                            .hwpt_id = s.hwpt,
                                            .iova = SETUP_IOVA,
                                            .length = PAGE,
                                            .page_size = PAGE,
                                            .data = (uintptr_t)&bitmap};
  CHECK_ERR(ioctl(s.iommufd, IOMMU_HWPT_SET_DIRTY_TRACKING, &set), EOPNOTSUPP);
  set.hwpt_id = s.ioas;
  CHECK_ERR(ioctl(s.iommufd, IOMMU_HWPT_SET_DIRTY_TRACKING, &set), ENOENT);
  set.flags = 2;
  CHECK_ERR(ioctl(s.iommufd, IOMMU_HWPT_SET_DIRTY_TRACKING, &set), EOPNOTSUPP);
  CHECK_ERR(ioctl(s.iommufd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get), EOPNOTSUPP);
  get.length = 100;
  CHECK_ERR(ioctl(s.iommufd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get), EINVAL);
  get.iova = MAX - 10;
  CHECK_ERR(ioctl(s.iommufd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get), EOVERFLOW);
  get.hwpt_id = NO_ID;
  CHECK_ERR(ioctl(s.iommufd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get), ENOENT);
  get.flags = 2;
  CHECK_ERR(ioctl(s.iommufd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get), EOPNOTSUPP);
}

TEST(N30, "VIOMMU_ALLOC: EOPNOTSUPP; type 0 and flags before the device id") {
  const struct setup s = set_up(true);
  struct iommu_viommu_alloc cmd = {
      .size = sizeof(cmd), .type = IOMMU_VIOMMU_TYPE_ARM_SMMUV3, .dev_id = s.dev.id, .hwpt_id = s.hwpt};
  CHECK_ERR(ioctl(s.iommufd, IOMMU_VIOMMU_ALLOC, &cmd), EOPNOTSUPP);
  cmd.dev_id = NO_ID;
  CHECK_ERR(ioctl(s.iommufd, IOMMU_VIOMMU_ALLOC, &cmd), ENOENT);
  cmd.type = IOMMU_VIOMMU_TYPE_DEFAULT;
  CHECK_ERR(ioctl(s.iommufd, IOMMU_VIOMMU_ALLOC, &cmd), EOPNOTSUPP);
}

TEST(X01, "HWPT_INVALIDATE on a noiommu HWPT: EINVAL, entry_num written back as 0") {
  const struct setup s = set_up(true);
  uint64_t entry[4] = {0};
  struct iommu_hwpt_invalidate cmd = {.size = sizeof(cmd),
                                      .hwpt_id = s.hwpt,
                                      .data_uptr = (uintptr_t)entry,
                                      .entry_len = sizeof(entry),
                                      .entry_num = 1};
  CHECK_ERR(ioctl(s.iommufd, IOMMU_HWPT_INVALIDATE, &cmd), EINVAL);
  CHECK_EQ(cmd.entry_num, 0);
}

/* ---- lifetime ---------------------------------------------------------------------------------------- */

TEST(N45, "close of the attached device: everything is released, the iommufd goes on") {
  struct setup s = set_up(true);
  uint64_t length, phys;
  close_kept(s.dev.fd);
  CHECK_ERR(destroy(s.iommufd, s.hwpt), ENOENT);
  CHECK_ERR(destroy(s.iommufd, s.dev.id), ENOENT);
  CHECK_ERR(query_pa(&s, SETUP_IOVA, MAX, &length, &phys), EOPNOTSUPP);
  s.dev = open_and_bind(NOIOMMU, 0, s.iommufd);
  CHECK_OK(attach_to(&s.dev, s.ioas));
  CHECK_OK(query_pa(&s, SETUP_IOVA, MAX, &length, &phys));
}

TEST(N46, "close of the iommufd while bound: the device keeps the context") {
  const struct setup s = set_up(true);
  struct vfio_device_info info = {.argsz = sizeof(info)};
  struct vdev second;
  close_kept(s.iommufd);
  CHECK_OK(ioctl(s.dev.fd, VFIO_DEVICE_GET_INFO, &info));
  CHECK_OK(detach(&s.dev));
  CHECK_OK(attach_to(&s.dev, s.ioas));
  second = open_device(NOIOMMU);
  CHECK_ERR(bind_to(&second, open_iommufd()), EINVAL);
  close_kept(s.dev.fd);
  CHECK_OK(bind_to(&second, open_iommufd()));
}

TEST(N47, "FEATURE BUS_MASTER on vfio-pci: ENOTTY") {
  const struct setup s = set_up(false);
  _Alignas(8) char buffer[sizeof(struct vfio_device_feature) + sizeof(struct vfio_device_feature_bus_master)] = {0};
  struct vfio_device_feature* feature = (struct vfio_device_feature*)buffer;
  feature->argsz = sizeof(buffer);
  feature->flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_BUS_MASTER;
  CHECK_ERR(ioctl(s.dev.fd, VFIO_DEVICE_FEATURE, feature), ENOTTY);
  feature->flags = VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_BUS_MASTER;
  CHECK_ERR(ioctl(s.dev.fd, VFIO_DEVICE_FEATURE, feature), ENOTTY);
}

TEST(N48, "bus mastering is off after BIND") {
  const struct setup s = set_up(false);
  struct vfio_region_info info;
  uint16_t command = 0xffff;
  REQUIRE(CHECK_OK(region_info(&s.dev, VFIO_PCI_CONFIG_REGION_INDEX, &info)));
  CHECK_EQ(pread(s.dev.fd, &command, 2, (off_t)(info.offset + PCI_COMMAND)), 2);
  CHECK_EQ(command & PCI_COMMAND_MASTER, 0);
}

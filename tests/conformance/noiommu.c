/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * noiommu mode of Linux 7.3: every row of the checklist (spec noiommu, 17) that needs no group file and no
 * change of capabilities. N<row> is a row; the X tests pin what the sections before it say. Needs a device
 * without an IOMMU, some tests also one behind an IOMMU, and CAP_SYS_RAWIO. Rows about capabilities:
 * capabilities.c.
 */
#define _GNU_SOURCE
#include <linux/pci_regs.h>
#include <sys/eventfd.h>
#include <sys/sysmacros.h>

#include "uapi.h"

/* An iommufd, a bound device without IOMMU, an IOAS, and 32 pages mapped at 1 MiB. Attached when `attached`.
 */
struct setup {
  int iommufd;
  struct vdev dev;
  uint32_t ioas, hwpt;
  uint8_t* memory;
};
#define SETUP_PAGES 32u
#define SETUP_IOVA 0x100000u

static struct setup set_up(bool attached) {
  struct setup s = {.iommufd = open_iommufd()};
  s.dev = open_and_bind(NOIOMMU, 0, s.iommufd);
  s.ioas = s.hwpt = ioas_alloc(s.iommufd);
  s.memory = pages(SETUP_PAGES * PAGE);
  if (attached) REQUIRE(CHECK_OK(attach(&s.dev, &s.hwpt)));
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, s.memory, SETUP_PAGES * PAGE, SETUP_IOVA)));
  return s;
}

static int query_pa(const struct setup* s, uint64_t iova, uint64_t most, uint64_t* length, uint64_t* phys) {
  *length = most;
  *phys = 0;
  return get_pa(s->iommufd, s->ioas, iova, length, phys);
}

/* ---- node and binding -------------------------------------------------------------------------------- */

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
  struct iommu_iova_range r[4];
  uint32_t num = 4;
  uint64_t alignment;
  REQUIRE(CHECK_OK(iova_ranges(s.iommufd, s.ioas, r, &num, &alignment)));
  CHECK_EQ(num, 1);
  CHECK_EQ(r[0].start, 0);
  CHECK_EQ(r[0].last, MAX);
  CHECK_EQ(alignment, 4096);
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

/* ---- NOIOMMU_GET_PA ---------------------------------------------------------------------------------- */

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

/* ---- both kinds in one context ----------------------------------------------------------------------- */

TEST(N49, "one IOAS, IOMMU device first, noiommu device second: GET_PA is EOPNOTSUPP") {
  struct setup s = {.iommufd = open_iommufd()};
  struct vdev iommu = open_and_bind(BEHIND_IOMMU, 0, s.iommufd);
  uint32_t first, second;
  uint64_t length, phys;
  s.dev = open_and_bind(NOIOMMU, 0, s.iommufd);
  s.ioas = first = second = ioas_alloc(s.iommufd);
  REQUIRE(CHECK_OK(attach(&iommu, &first)));
  REQUIRE(CHECK_OK(attach(&s.dev, &second)));
  CHECK_EQ(second, first); /* joins the real automatic HWPT */
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, pages(PAGE), PAGE, 0x10000)));
  CHECK_ERR(query_pa(&s, 0x10000, MAX, &length, &phys), EOPNOTSUPP);
}

TEST(N50, "one IOAS, noiommu device first, IOMMU device second: two HWPTs, GET_PA works") {
  struct setup s = {.iommufd = open_iommufd()};
  struct vdev iommu = open_and_bind(BEHIND_IOMMU, 0, s.iommufd);
  uint32_t first, second;
  uint64_t length, phys;
  s.dev = open_and_bind(NOIOMMU, 0, s.iommufd);
  s.ioas = first = second = ioas_alloc(s.iommufd);
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
  struct setup s = {.iommufd = open_iommufd()};
  struct vdev iommu = open_and_bind(BEHIND_IOMMU, 0, s.iommufd);
  uint32_t hwpt, other;
  uint64_t length, phys;
  s.dev = open_and_bind(NOIOMMU, 0, s.iommufd);
  s.ioas = ioas_alloc(s.iommufd);
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
  const struct setup s = set_up(true);
  struct vdev iommu = open_and_bind(BEHIND_IOMMU, 0, s.iommufd);
  REQUIRE(CHECK_OK(attach_to(&iommu, s.ioas)));
  CHECK_ERR(map_fixed(s.iommufd, s.ioas, pages(PAGE), PAGE, 0xfee00000), EINVAL);
  REQUIRE(CHECK_OK(detach(&iommu)));
  CHECK_OK(map_fixed(s.iommufd, s.ioas, pages(PAGE), PAGE, 0xfee00000));
}

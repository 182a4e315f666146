/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * QEMU's vfio-pci with an iommufd object (clients.md 1.7), without KVM: the node is checked against its number, an HWPT is made and
 * attached, memory is mapped fixed and from files, all of it is unmapped in two halves, dirty pages are tracked.
 */
#include "client.h"

SECTION("clients 1.7");

static int open_checked(struct vdev* d, dev_t* number) {
  char names[4][64];
  struct stat st;
  unsigned ma, mi;
  char resolved[PATH_MAX];
  NEED(stat(device_path("."), &st));
  REQUIRE(CHECK(realpath(path("/sys/bus/pci/devices/%s", bdf()), resolved) != NULL));
  CHECK(strncmp(resolved, "/sys/devices/", 13) == 0);
  CHECK(strcmp(link_name(path("%s/subsystem", resolved)), "pci") == 0);
  REQUIRE(CHECK_GE(entries_of(path("%s/vfio-dev", resolved), names, 4), 1));
  snprintf(d->name, sizeof(d->name), "%s", names[0]);
  REQUIRE(CHECK_EQ(sscanf(text_of(path("%s/vfio-dev/%s/dev", resolved, d->name)), "%u:%u", &ma, &mi), 2));
  *number = makedev(ma, mi);
  const int fd = open(path("/dev/vfio/devices/%s", d->name), O_RDWR | O_CLOEXEC);
  NEED(fd);
  NEED(fstat(fd, &st));
  CHECK(S_ISCHR(st.st_mode));
  CHECK_EQ(st.st_rdev, *number);
  return fd;
}

/* Everything, as QEMU's listener does it: two halves, nothing there is no error. */
static void unmap_all(int iommufd, uint32_t ioas) {
  for (uint64_t half = 0; half < 2; half++) {
    struct iommu_ioas_unmap cmd = {.size = sizeof(cmd), .ioas_id = ioas, .iova = half << 63, .length = 1ull << 63};
    if (ioctl(iommufd, IOMMU_IOAS_UNMAP, &cmd) != 0) CHECK_EQ(errno, ENOENT);
  }
}

TEST(QEMU1, "realize: node and number, bind, hardware, HWPT, attach, ranges, memory, device, reset info, unrealize") {
  struct vdev d = {.fd = -1};
  dev_t number;
  const int iommufd = keep(open("/dev/iommu", O_RDWR | O_CLOEXEC));
  NEED(iommufd);
  d.fd = keep(open_checked(&d, &number));
  NEED(bind_to(&d, iommufd));
  const uint32_t ioas = ioas_alloc(iommufd);
  uint64_t data[8] = {0};
  const struct iommu_hw_info info = hw_info(iommufd, &d, data, sizeof(data));
  uint32_t hwpt;
  const uint32_t flags = info.out_capabilities & IOMMU_HW_CAP_DIRTY_TRACKING ? IOMMU_HWPT_ALLOC_DIRTY_TRACKING : 0;
  NEED(hwpt_alloc(iommufd, d.id, ioas, flags, &hwpt));
  NEED(attach_to(&d, hwpt));
  struct iommu_ioas_iova_ranges ranges = {.size = sizeof(ranges), .ioas_id = ioas};
  CHECK_ERR(ioctl(iommufd, IOMMU_IOAS_IOVA_RANGES, &ranges), EMSGSIZE);
  struct iommu_iova_range* list = calloc(ranges.num_iovas, sizeof(*list));
  ranges.allowed_iovas = (uintptr_t)list;
  NEED(ioctl(iommufd, IOMMU_IOAS_IOVA_RANGES, &ranges));
  free(list);

  /* Guest RAM: anonymous, and a memfd by its descriptor (IOAS_MAP_FILE). */
  uint8_t* ram = pages(4 << 20);
  NEED(map_fixed(iommufd, ioas, ram, 4 << 20, 0x100000));
  const int file = keep(memfd_create("pc.ram", MFD_CLOEXEC));
  NEED(ftruncate(file, 4 << 20));
  uint8_t* shared = mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  REQUIRE(CHECK(shared != MAP_FAILED));
  struct iommu_ioas_map_file map = {
      .size = sizeof(map), .flags = RW | FIXED, .ioas_id = ioas, .fd = file, .length = 4 << 20, .iova = 0x40000000};
  NEED(ioctl(iommufd, IOMMU_IOAS_MAP_FILE, &map));

  CHECK(device_info(d.fd).flags & VFIO_DEVICE_FLAGS_PCI);
  for (uint32_t i = 0; i < VFIO_PCI_VGA_REGION_INDEX; i++) (void)region_of(d.fd, i);
  for (uint32_t i = 0; i < VFIO_PCI_ERR_IRQ_INDEX; i++) (void)irq_of(d.fd, i);
  struct vfio_irq_info err = {.argsz = sizeof(err), .index = VFIO_PCI_ERR_IRQ_INDEX};
  if (ioctl(d.fd, VFIO_DEVICE_GET_IRQ_INFO, &err) != 0) CHECK_EQ(errno, EINVAL); /* a conventional function */
  const int request = keep(eventfd(0, EFD_CLOEXEC));
  CHECK_EQ(irq_of(d.fd, VFIO_PCI_REQ_IRQ_INDEX).count, 1);
  NEED(set_irqs(d.fd, VFIO_PCI_REQ_IRQ_INDEX, 1, &request));
  struct vfio_device_feature probe = {
      .argsz = sizeof(probe),
      .flags = VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION};
  CHECK_ERR(ioctl(d.fd, VFIO_DEVICE_FEATURE, &probe), ENOTTY);
  union {
    struct vfio_pci_hot_reset_info info;
    char bytes[512];
  } reset = {.info = {.argsz = sizeof(reset)}};
  if (ioctl(d.fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &reset) == 0)
    CHECK(reset.info.flags & VFIO_PCI_HOT_RESET_FLAG_DEV_ID);
  else
    CHECK_EQ(errno, ENODEV); /* nothing above it can be reset */
  NEED(ioctl(d.fd, VFIO_DEVICE_RESET));

  enable_device(d.fd, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
  void* registers = NULL;
  const struct vfio_region_info bar = region_of(d.fd, 0);
  if (bar.flags & VFIO_REGION_INFO_FLAG_MMAP) registers = map_bar(d.fd, &bar, PROT_READ | PROT_WRITE);
  REQUIRE(CHECK(registers != NULL));
  if (flags) {
    struct iommu_hwpt_set_dirty_tracking set = {
        .size = sizeof(set), .hwpt_id = hwpt, .flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE};
    NEED(ioctl(iommufd, IOMMU_HWPT_SET_DIRTY_TRACKING, &set));
  }
  check_mapped_copy(registers, 0x102000, 0x40003000, ram + 0x2000, shared + 0x3000, PAGE);
  if (flags) {
    uint64_t bitmap[(4 << 20) / PAGE / 64] = {0};
    struct iommu_hwpt_get_dirty_bitmap get = {.size = sizeof(get),
                                              .hwpt_id = hwpt,
                                              .iova = 0x40000000,
                                              .length = 4 << 20,
                                              .page_size = PAGE,
                                              .data = (uintptr_t)bitmap};
    NEED(ioctl(iommufd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get));
    CHECK(bitmap[0] & 1 << 3);
  }
  munmap(registers, bar.size);
  unmap_all(iommufd, ioas);
  NEED(detach(&d));
  NEED(destroy(iommufd, hwpt));
  NEED(destroy(iommufd, ioas));
}

TEST(QEMU2, "a node of another name is found by its number in /dev/char") {
  struct vdev d = {.fd = -1};
  dev_t number;
  struct stat st;
  close(open_checked(&d, &number));
  const int fd = keep(open(path("/dev/char/%u:%u", major(number), minor(number)), O_RDWR | O_CLOEXEC));
  NEED(fd);
  NEED(fstat(fd, &st));
  CHECK(S_ISCHR(st.st_mode));
  CHECK_EQ(st.st_rdev, number);
}

TEST(QEMU3, "descriptors that another program opened (fd= of both objects)") {
  struct vdev d = {.fd = -1};
  dev_t number;
  int status = -1;
  const int iommufd = open("/dev/iommu", O_RDWR);
  NEED(iommufd);
  d.fd = open_checked(&d, &number);
  fcntl(d.fd, F_SETFD, 0);
  const pid_t child = fork();
  if (child == 0) { /* stands for QEMU: it knows the descriptors alone */
    struct stat st;
    if (setjmp(harness.leave) == 0) {
      NEED(fstat(d.fd, &st));
      CHECK_EQ(st.st_rdev, number);
      NEED(bind_to(&d, iommufd));
      NEED(attach_to(&d, ioas_alloc(iommufd)));
    }
    fflush(stdout);
    _exit(harness.failed);
  }
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  close(d.fd);
  close(iommufd);
}

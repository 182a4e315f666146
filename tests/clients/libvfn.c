/* SPDX-License-Identifier: BSD-3-Clause */
/* libvfn (clients.md 1.2): iommufd when there is one, else groups; BAR 0 is mapped in two parts, the second for stores alone. */
#include "group_client.h"

SECTION("clients 1.2");

static int find_irq(int device, uint32_t* vectors) {
  static const int order[] = {VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_INTX_IRQ_INDEX};
  for (size_t i = 0; i < 3; i++) {
    const struct vfio_irq_info info = irq_of(device, (uint32_t)order[i]);
    if (!(info.flags & VFIO_IRQ_INFO_EVENTFD) || info.count == 0) continue;
    *vectors = info.count;
    return order[i];
  }
  return -1;
}

/* What the library does with a device descriptor, whichever way it came. */
static void use_device(int device, uint64_t iova, uint8_t* memory) {
  CHECK(device_info(device).flags & VFIO_DEVICE_FLAGS_PCI);
  uint32_t vectors = 0;
  const int index = find_irq(device, &vectors);
  REQUIRE(CHECK(index >= 0));
  for (uint32_t i = 0; i < 6; i++) (void)region_of(device, i);
  enable_device(device, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
  NEED(ioctl(device, VFIO_DEVICE_RESET));
  enable_device(device, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);

  const struct vfio_region_info bar = region_of(device, 0);
  void* registers = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED, device, (off_t)bar.offset);
  REQUIRE(CHECK(registers != MAP_FAILED));
  void* doorbells = mmap(NULL, bar.size - 0x1000, PROT_WRITE, MAP_SHARED, device, (off_t)(bar.offset + 0x1000));
  REQUIRE(CHECK(doorbells != MAP_FAILED));
  store4(doorbells, 0, 1);

  const int fd = keep(eventfd(0, EFD_CLOEXEC));
  NEED(set_irqs(device, (uint32_t)index, 1, &fd));
  store4(registers, EDU_IRQ_RAISE, 1);
  CHECK(signalled(fd));
  check_mapped_copy(registers, iova, iova + PAGE, memory, memory + PAGE, PAGE);
  NEED(set_irqs(device, (uint32_t)index, 0, NULL));
  munmap(doorbells, bar.size - 0x1000);
  munmap(registers, 0x1000);
}

TEST(LIBVFN1, "iommufd: one context, the cdev of vfio-dev, a chosen and a fixed IOVA, unmap of everything") {
  struct stat st;
  NEED(stat("/dev/vfio/devices", &st));
  CHECK(S_ISDIR(st.st_mode));
  NEED(stat("/dev/iommu", &st));
  CHECK(S_ISCHR(st.st_mode));
  CHECK_NE(number_of(device_path("class")), 0);

  const int iommufd = keep(open("/dev/iommu", O_RDWR));
  NEED(iommufd);
  const uint32_t ioas = ioas_alloc(iommufd);
  struct vdev d;
  REQUIRE(CHECK(vfio_name(bdf(), d.name, sizeof(d.name))));
  d.fd = keep(open(path("/dev/vfio/devices/%s", d.name), O_RDWR));
  NEED(d.fd);
  NEED(bind_to(&d, iommufd));
  NEED(attach_to(&d, ioas));

  struct iommu_ioas_iova_ranges cmd = {.size = sizeof(cmd), .ioas_id = ioas};
  CHECK_ERR(ioctl(iommufd, IOMMU_IOAS_IOVA_RANGES, &cmd), EMSGSIZE);
  REQUIRE(CHECK_GE(cmd.num_iovas, 1));
  struct iommu_iova_range* ranges = calloc(cmd.num_iovas, sizeof(*ranges));
  cmd.allowed_iovas = (uintptr_t)ranges;
  NEED(ioctl(iommufd, IOMMU_IOAS_IOVA_RANGES, &cmd));
  CHECK_GE(ranges[0].last, ranges[0].start + 2 * PAGE);

  uint8_t *chosen = pages(2 * PAGE), *fixed = pages(2 * PAGE);
  uint64_t iova = 0;
  NEED(map_va(iommufd, ioas, (uintptr_t)chosen, 2 * PAGE, &iova));
  const uint64_t at = ranges[0].start + 0x100000;
  NEED(map_fixed(iommufd, ioas, fixed, 2 * PAGE, at));
  use_device(d.fd, iova, chosen);
  use_device(d.fd, at, fixed);
  struct iommu_ioas_unmap all = {.size = sizeof(all), .ioas_id = ioas, .length = UINT64_MAX};
  NEED(ioctl(iommufd, IOMMU_IOAS_UNMAP, &all));
  CHECK_EQ(all.length, 4 * PAGE);
  free(ranges);
}

TEST(LIBVFN2, "the group way (VFN_IOMMU_FORCE_VFIO): type 1, ranges and room in GET_INFO, map, device, unmap") {
  const int container = keep(open("/dev/vfio/vfio", O_RDWR));
  NEED(container);
  CHECK_EQ(ioctl(container, VFIO_GET_API_VERSION), VFIO_API_VERSION);
  CHECK_GE(ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU), 1);
  CHECK_NE(number_of(device_path("class")), 0);
  const int group = keep(open(path("/dev/vfio/%u", group_number()), O_RDWR));
  NEED(group);
  CHECK(status_of(group) & VFIO_GROUP_FLAGS_VIABLE);
  NEED(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
  NEED(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU));
  struct vfio_iova_range ranges[8];
  REQUIRE(CHECK_GE(container_ranges(container, ranges, 8), 1));
  uint8_t* memory = pages(2 * PAGE);
  const uint64_t iova = ranges[0].start + 0x10000;
  NEED(container_map(container, memory, iova, 2 * PAGE));
  const int device = keep(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf()));
  NEED(device);
  use_device(device, iova, memory);
  CHECK_EQ(container_unmap(container, 0, iova, 2 * PAGE), 2 * PAGE);
}

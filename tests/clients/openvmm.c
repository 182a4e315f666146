/* SPDX-License-Identifier: BSD-3-Clause */
/* OpenVMM and OpenHCL (clients.md 1.8): a noiommu group, physical addresses, interrupts as mapped eventfds; a BAR that cannot be mapped
 * is read and written through the descriptor. CLIENT_BDF is a device without an IOMMU. */
#include "group_client.h"
#include "pagemap.h"

SECTION("clients 1.8");

TEST(OPENVMM1, "noiommu group: viable, type 8, device, BAR by map or by calls, DMA to physical addresses, MSI, reset") {
  char names[4][64];
  REQUIRE(CHECK_EQ(entries_of(device_path("vfio-dev"), names, 4), 1));
  CHECK(strncmp(names[0], "noiommu-vfio", 12) == 0);
  const int container = keep(open("/dev/vfio/vfio", O_RDWR));
  NEED(container);
  CHECK_EQ(ioctl(container, VFIO_GET_API_VERSION), VFIO_API_VERSION);
  const int group = keep(open(path("/dev/vfio/noiommu-%u", group_number()), O_RDWR));
  NEED(group);
  NEED(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
  CHECK(status_of(group) & VFIO_GROUP_FLAGS_VIABLE);
  NEED(ioctl(container, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU));
  const int device = keep(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf()));
  NEED(device);
  CHECK(device_info(device).num_irqs > VFIO_PCI_MSIX_IRQ_INDEX);
  enable_device(device, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
  uint8_t* memory = pages(2 * PAGE);
  NEED(mlock(memory, 2 * PAGE));
  memory[0] = memory[PAGE] = 1;
  const struct vfio_region_info bar = region_of(device, 0);
  if (bar.flags & VFIO_REGION_INFO_FLAG_MMAP) {
    void* registers = map_bar(device, &bar, PROT_READ | PROT_WRITE);
    check_mapped_copy(registers, physical(memory), physical(memory + PAGE), memory, memory + PAGE, PAGE);
    munmap(registers, bar.size);
  } else {
    check_copy(device, physical(memory), physical(memory + PAGE), memory, memory + PAGE, PAGE);
  }
  uint32_t index = VFIO_PCI_MSIX_IRQ_INDEX;
  if (irq_of(device, index).count == 0) index = VFIO_PCI_MSI_IRQ_INDEX;
  const int fd = keep(eventfd(0, EFD_CLOEXEC));
  NEED(set_irqs(device, index, 1, &fd));
  NEED(raise_irq(device, index, 0));
  CHECK(signalled(fd));
  NEED(set_irqs(device, index, 0, NULL));
  NEED(ioctl(device, VFIO_DEVICE_RESET));
}

TEST(OPENVMM2, "the newer way: the noiommu cdev with an IOAS, and GET_PA") {
  struct vdev d;
  const int iommufd = keep(open("/dev/iommu", O_RDWR));
  NEED(iommufd);
  REQUIRE(CHECK(vfio_name(bdf(), d.name, sizeof(d.name))));
  d.fd = keep(open(path("/dev/vfio/devices/%s", d.name), O_RDWR));
  NEED(d.fd);
  NEED(bind_to(&d, iommufd));
  const uint32_t ioas = ioas_alloc(iommufd);
  NEED(attach_to(&d, ioas));
  uint8_t* memory = pages(2 * PAGE);
  uint64_t iova, length = PAGE, first, second;
  NEED(map_va(iommufd, ioas, (uintptr_t)memory, 2 * PAGE, &iova));
  NEED(get_pa(iommufd, ioas, iova, &length, &first));
  NEED(get_pa(iommufd, ioas, iova + PAGE, &length, &second));
  enable_device(d.fd, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
  check_copy(d.fd, first, second, memory, memory + PAGE, PAGE);
}

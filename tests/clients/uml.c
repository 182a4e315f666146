/* SPDX-License-Identifier: BSD-3-Clause */
/* User-mode Linux's vfio device (clients.md 1.8): one mapping of the whole guest memory, everything else by pread and pwrite. */
#include "group_client.h"

SECTION("clients 1.8");

enum { GUEST = 32 << 20 };

TEST(UML1, "group, guest memory at its own addresses, a BAR's registers by pread and pwrite, vectors one by one") {
  const int container = keep(open("/dev/vfio/vfio", O_RDWR));
  NEED(container);
  CHECK_EQ(ioctl(container, VFIO_GET_API_VERSION), VFIO_API_VERSION);
  CHECK(ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU) > 0);
  const int group = keep(open(path("/dev/vfio/%u", group_number()), O_RDWR));
  NEED(group);
  CHECK(status_of(group) & VFIO_GROUP_FLAGS_VIABLE);
  NEED(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
  NEED(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU));

  /* Guest memory is a file that is mapped shared. */
  const int file = keep(memfd_create("guest", MFD_CLOEXEC));
  NEED(ftruncate(file, GUEST));
  uint8_t* guest = mmap(NULL, GUEST, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  REQUIRE(CHECK(guest != MAP_FAILED));
  NEED(container_map(container, guest, 0, GUEST));

  const int device = keep(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf()));
  NEED(device);
  const struct vfio_device_info info = device_info(device);
  CHECK(info.num_regions > VFIO_PCI_CONFIG_REGION_INDEX);
  CHECK(info.num_irqs > VFIO_PCI_MSIX_IRQ_INDEX);
  for (uint32_t i = 0; i <= VFIO_PCI_CONFIG_REGION_INDEX; i++) (void)region_of(device, i);
  const uint64_t config = region_of(device, VFIO_PCI_CONFIG_REGION_INDEX).offset;
  uint32_t id = 0;
  REQUIRE(CHECK_EQ(pread(device, &id, 4, (off_t)config), 4));
  CHECK_EQ(id & 0xffff, number_of(device_path("vendor")));

  /* Its kernel assigns the BARs anew and turns decoding and bus mastering on. */
  uint32_t all = UINT32_MAX, sized = 0;
  REQUIRE(CHECK_EQ(pwrite(device, &all, 4, (off_t)config + PCI_BASE_ADDRESS_0), 4));
  REQUIRE(CHECK_EQ(pread(device, &sized, 4, (off_t)config + PCI_BASE_ADDRESS_0), 4));
  CHECK_EQ(~(sized & ~0xfu) + 1, region_of(device, 0).size);
  const uint32_t placed = 0x80000000u;
  REQUIRE(CHECK_EQ(pwrite(device, &placed, 4, (off_t)config + PCI_BASE_ADDRESS_0), 4));
  enable_device(device, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
  check_copy(device, 0x100000, 0x1ff000, guest + 0x100000, guest + 0x1ff000, PAGE);
  check_copy(device, GUEST - PAGE, 0, guest + GUEST - PAGE, guest, PAGE);

  const struct vfio_irq_info irq = irq_of(device, VFIO_PCI_MSIX_IRQ_INDEX);
  if (irq.count == 0) SKIP("the device has no MSI-X");
  int32_t fds[64];
  const uint32_t num = irq.count < 64 ? irq.count : 64;
  for (uint32_t i = 0; i < num; i++) fds[i] = keep(eventfd(0, EFD_CLOEXEC));
  NEED(set_irqs(device, VFIO_PCI_MSIX_IRQ_INDEX, num, fds));
  for (uint32_t i = 0; i < num; i++) {
    NEED(raise_irq(device, VFIO_PCI_MSIX_IRQ_INDEX, i));
    CHECK(signalled(fds[i]));
  }
  NEED(set_irqs(device, VFIO_PCI_MSIX_IRQ_INDEX, 0, NULL));
}

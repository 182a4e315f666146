/* SPDX-License-Identifier: BSD-3-Clause */
/* QEMU's nvme:// block driver (clients.md 1.7): groups alone, type 1, BAR 0 mapped, one eventfd, IOVAs from 0x10000 to 2^39. */
#include "group_client.h"

SECTION("clients 1.7");

enum { IOVA_MIN = 0x10000 };
#define IOVA_MAX (1ull << 39)

TEST(QEMUNVME1, "container, group, IOVA ranges, BAR 0, interrupt, memory mapped while the device runs") {
  const int container = keep(open("/dev/vfio/vfio", O_RDWR));
  NEED(container);
  CHECK_EQ(ioctl(container, VFIO_GET_API_VERSION), VFIO_API_VERSION);
  CHECK_EQ(ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU), 1);
  const int group = keep(open(path("/dev/vfio/%u", group_number()), O_RDWR));
  NEED(group);
  CHECK(status_of(group) & VFIO_GROUP_FLAGS_VIABLE);
  NEED(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
  NEED(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU));
  struct vfio_iova_range ranges[8];
  const int num = container_ranges(container, ranges, 8);
  REQUIRE(CHECK_GE(num, 1));
  const int device = keep(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf()));
  NEED(device);
  const struct vfio_device_info info = device_info(device);
  CHECK_GE(info.num_regions, VFIO_PCI_CONFIG_REGION_INDEX);
  const struct vfio_region_info config = region_of(device, VFIO_PCI_CONFIG_REGION_INDEX);
  const struct vfio_region_info bar = region_of(device, VFIO_PCI_BAR0_REGION_INDEX);
  CHECK(config.flags & VFIO_REGION_INFO_FLAG_WRITE);
  uint16_t command = 0;
  REQUIRE(CHECK_EQ(pread(device, &command, 2, (off_t)(config.offset + PCI_COMMAND)), 2));
  command |= PCI_COMMAND_MASTER;
  REQUIRE(CHECK_EQ(pwrite(device, &command, 2, (off_t)(config.offset + PCI_COMMAND)), 2));

  /* Registers for reading and writing, then the doorbells behind them for writing. */
  void* registers = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED, device, (off_t)bar.offset);
  REQUIRE(CHECK(registers != MAP_FAILED));
  void* doorbells = mmap(NULL, 0x1000, PROT_WRITE, MAP_SHARED, device, (off_t)bar.offset + 0x1000);
  REQUIRE(CHECK(doorbells != MAP_FAILED));

  const uint32_t kinds[] = {VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX};
  const struct vfio_irq_info msix = irq_of(device, kinds[0]);
  const uint32_t index = msix.count ? kinds[0] : kinds[1];
  CHECK(irq_of(device, index).flags & VFIO_IRQ_INFO_EVENTFD);
  const int fd = keep(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  NEED(set_irqs(device, index, 1, &fd));

  /* Fixed mappings grow from the bottom of a range, temporary ones from its top. */
  uint8_t *fixed = pages(2 * PAGE), *temporary = pages(2 * PAGE);
  const uint64_t low = ranges[0].start > IOVA_MIN ? ranges[0].start : IOVA_MIN;
  const uint64_t end = ranges[num - 1].end < IOVA_MAX - 1 ? ranges[num - 1].end + 1 : IOVA_MAX;
  NEED(container_map(container, fixed, low, 2 * PAGE));
  NEED(container_map(container, temporary, end - 2 * PAGE, 2 * PAGE));
  check_mapped_copy(registers, low, low + PAGE, fixed, fixed + PAGE, PAGE);
  check_mapped_copy(registers, end - 2 * PAGE, end - PAGE, temporary, temporary + PAGE, PAGE);
  store4(registers, EDU_IRQ_RAISE, 1);
  CHECK(signalled(fd));
  /* The temporary ones go all at once, the others at the end. */
  CHECK_EQ(container_unmap(container, 0, end - 2 * PAGE, 2 * PAGE), 2 * PAGE);
  CHECK_EQ(container_unmap(container, 0, low, 2 * PAGE), 2 * PAGE);
  munmap(doorbells, 0x1000);
  munmap(registers, 0x1000);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* ublksrv's nvme_vfio target (clients.md 1.10): the first entry of vfio-dev/, fixed IOVAs, DETACH, DESTROY. */
#include "client.h"

SECTION("clients 1.10");

TEST(UBLK1, "cdev: bind, attach, fixed mappings, BAR 0, interrupts, unmap, detach, destroy") {
  char names[4][64];
  REQUIRE(CHECK_GE(entries_of(device_path("vfio-dev"), names, 4), 1));
  const int iommufd = keep(open("/dev/iommu", O_RDWR));
  NEED(iommufd);
  struct vdev d = {.fd = keep(open(path("/dev/vfio/devices/%s", names[0]), O_RDWR))};
  NEED(d.fd);
  NEED(bind_to(&d, iommufd));
  const uint32_t ioas = ioas_alloc(iommufd);
  NEED(attach_to(&d, ioas));
  CHECK(device_info(d.fd).flags & VFIO_DEVICE_FLAGS_PCI);
  enable_device(d.fd, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
  const struct vfio_region_info bar = region_of(d.fd, VFIO_PCI_BAR0_REGION_INDEX);
  REQUIRE(CHECK(bar.flags & VFIO_REGION_INFO_FLAG_MMAP));
  void* registers = map_bar(d.fd, &bar, PROT_READ | PROT_WRITE);

  /* Queues and the buffers of I/O, each at an IOVA of its own. */
  uint8_t *queue = pages(2 * PAGE), *buffers = pages(2 << 20);
  const uint64_t queue_iova = 0x100000, buffer_iova = 0x10000000;
  NEED(map_fixed(iommufd, ioas, queue, 2 * PAGE, queue_iova));
  NEED(map_fixed(iommufd, ioas, buffers, 2 << 20, buffer_iova));
  check_mapped_copy(registers, queue_iova, buffer_iova + 0x3000, queue, buffers + 0x3000, PAGE);
  const int fd = keep(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  NEED(set_irqs(d.fd, VFIO_PCI_MSI_IRQ_INDEX, 1, &fd));
  store4(registers, EDU_IRQ_RAISE, 1);
  CHECK(signalled(fd));
  NEED(set_irqs(d.fd, VFIO_PCI_MSI_IRQ_INDEX, 0, NULL));

  const uint64_t iovas[] = {buffer_iova, queue_iova}, lengths[] = {2 << 20, 2 * PAGE};
  for (size_t i = 0; i < 2; i++) {
    struct iommu_ioas_unmap cmd = {.size = sizeof(cmd), .ioas_id = ioas, .iova = iovas[i], .length = lengths[i]};
    NEED(ioctl(iommufd, IOMMU_IOAS_UNMAP, &cmd));
    CHECK_EQ(cmd.length, lengths[i]);
  }
  munmap(registers, bar.size);
  NEED(detach(&d));
  NEED(destroy(iommufd, ioas));
}

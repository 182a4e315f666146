// SPDX-License-Identifier: BSD-3-Clause
// intx BDF ROUNDS: an edu raises its line, it is acknowledged there and unmasked in VFIO, so many times. Nothing else may come.
#define _GNU_SOURCE

#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/iommufd.h>
#include <linux/vfio.h>

#include "device.h"

enum { kRaise = 0x60, kAcknowledge = 0x64, kPatience = 5000 };

static void set_irqs(int fd, unsigned flags, int event) {
  const size_t size = sizeof(struct vfio_irq_set) + sizeof(event);
  struct vfio_irq_set* request = calloc(1, size);

  if (!request) fail("memory");
  *request =
      (struct vfio_irq_set){.argsz = (unsigned)size, .flags = flags, .index = VFIO_PCI_INTX_IRQ_INDEX, .count = 1};
  memcpy(request->data, &event, sizeof(event));
  if (ioctl(fd, VFIO_DEVICE_SET_IRQS, request)) fail("VFIO_DEVICE_SET_IRQS");
  free(request);
}

// How many have come within so many milliseconds.
static uint64_t take(int event, int patience) {
  struct pollfd p = {.fd = event, .events = POLLIN};
  uint64_t count = 0;

  if (poll(&p, 1, patience) == 1 && read(event, &count, sizeof(count)) != sizeof(count)) fail("read");
  return count;
}

int main(int argc, char** argv) {
  const unsigned rounds = argc == 3 ? (unsigned)atoi(argv[2]) : 0;
  const int iommufd = open("/dev/iommu", O_RDWR), event = eventfd(0, 0);
  const uint32_t one = 1;

  if (!rounds) return 2;
  if (iommufd < 0 || event < 0) fail("/dev/iommu");
  const int fd = open_device(argv[1]);
  struct vfio_device_bind_iommufd bind = {.argsz = sizeof(bind), .iommufd = iommufd};
  if (ioctl(fd, VFIO_DEVICE_BIND_IOMMUFD, &bind)) fail("VFIO_DEVICE_BIND_IOMMUFD");
  struct vfio_region_info bar = {.argsz = sizeof(bar), .index = VFIO_PCI_BAR0_REGION_INDEX};
  if (ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &bar)) fail("VFIO_DEVICE_GET_REGION_INFO");
  set_irqs(fd, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, event);
  for (unsigned i = 0; i < rounds; i++) {
    if (pwrite(fd, &one, sizeof(one), (off_t)bar.offset + kRaise) != sizeof(one)) fail("a store");
    const uint64_t came = take(event, kPatience);
    if (came != 1) {
      printf("round %u: %llu interrupts\n", i, (unsigned long long)came);
      return 1;
    }
    if (pwrite(fd, &one, sizeof(one), (off_t)bar.offset + kAcknowledge) != sizeof(one)) fail("a store");
    set_irqs(fd, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK, 0);
  }
  if (take(event, 50)) {
    puts("one more than was raised");
    return 1;
  }
  printf("%u interrupts by INTx\n", rounds);
  return 0;
}

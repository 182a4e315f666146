// SPDX-License-Identifier: BSD-3-Clause
// irq_counts BDF: what VFIO says of a function's interrupts: one line "intx N msi N msix N".
#define _GNU_SOURCE

#include "device.h"

int main(int argc, char** argv) {
  static const struct {
    const char* name;
    unsigned index;
  } kinds[] = {{"intx", VFIO_PCI_INTX_IRQ_INDEX}, {"msi", VFIO_PCI_MSI_IRQ_INDEX}, {"msix", VFIO_PCI_MSIX_IRQ_INDEX}};

  if (argc != 2) return 2;
  const int fd = attach_device(argv[1]).device;
  for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
    struct vfio_irq_info info = {.argsz = sizeof(info), .index = kinds[i].index};

    if (ioctl(fd, VFIO_DEVICE_GET_IRQ_INFO, &info)) fail("VFIO_DEVICE_GET_IRQ_INFO");
    printf("%s%s %u", i ? " " : "", kinds[i].name, info.count);
  }
  putchar('\n');
  return 0;
}

// SPDX-License-Identifier: BSD-3-Clause
// read_rom BDF: writes what the expansion ROM of a function holds, as VFIO shows it, to stdout. Looks at the rules for its region and its
// BAR in config space, too. Exit: 1 when one is broken, 2 what fails.
#define _GNU_SOURCE

#include <stdbool.h>
#include <unistd.h>

#include <linux/pci_regs.h>

#include "device.h"

static bool is(const char* what, bool right) {
  if (!right) fprintf(stderr, "%s: no\n", what);
  return right;
}

int main(int argc, char** argv) {
  struct vfio_region_info rom = {.argsz = sizeof(rom), .index = VFIO_PCI_ROM_REGION_INDEX};
  struct vfio_region_info config = {.argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX};
  static char block[65536];
  uint32_t before, ones = ~UINT32_C(0), mask;
  bool right = true;

  if (argc != 2) return 2;
  const int fd = attach_device(argv[1]).device;
  if (ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &rom) || ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &config))
    fail("VFIO_DEVICE_GET_REGION_INFO");
  right &= is("it is read-only", rom.flags == VFIO_REGION_INFO_FLAG_READ);
  right &= is("a write is EINVAL", pwrite(fd, "x", 1, (off_t)rom.offset) < 0 && errno == EINVAL);
  const off_t bar = (off_t)config.offset + PCI_ROM_ADDRESS;
  if (pread(fd, &before, 4, bar) != 4 || pwrite(fd, &ones, 4, bar) != 4 || pread(fd, &mask, 4, bar) != 4 ||
      pwrite(fd, &before, 4, bar) != 4)
    fail("PCI_ROM_ADDRESS");
  right &= is("its BAR can be sized", mask == (~(uint32_t)(rom.size - 1) | PCI_ROM_ADDRESS_ENABLE));
  for (uint64_t done = 0; done < rom.size;) {
    const ssize_t n = pread(fd, block, sizeof(block), (off_t)(rom.offset + done));

    if (n <= 0) fail("pread");
    if (write(STDOUT_FILENO, block, (size_t)n) != n) fail("write");
    done += (uint64_t)n;
  }
  return right ? 0 : 1;
}

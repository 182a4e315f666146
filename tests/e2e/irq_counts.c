// SPDX-License-Identifier: BSD-3-Clause
// irq_counts BDF: what VFIO says of a function's interrupts: one line "intx N msi N msix N".
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include <linux/iommufd.h>
#include <linux/vfio.h>

static int fail(const char* what) {
  perror(what);
  exit(2);
}

static int open_device(const char* bdf) {
  char path[300];
  struct dirent* entry;
  DIR* dir;

  snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", bdf);
  if (!(dir = opendir(path))) fail(path);
  while ((entry = readdir(dir)) && !strstr(entry->d_name, "vfio")) continue;
  if (!entry) fail("no VFIO device");
  snprintf(path, sizeof(path), "/dev/vfio/devices/%.200s", entry->d_name);
  closedir(dir);
  const int fd = open(path, O_RDWR);
  if (fd < 0) fail(path);
  return fd;
}

int main(int argc, char** argv) {
  static const struct {
    const char* name;
    unsigned index;
  } kinds[] = {{"intx", VFIO_PCI_INTX_IRQ_INDEX}, {"msi", VFIO_PCI_MSI_IRQ_INDEX}, {"msix", VFIO_PCI_MSIX_IRQ_INDEX}};

  if (argc != 2) return 2;
  const int iommufd = open("/dev/iommu", O_RDWR);
  if (iommufd < 0) fail("/dev/iommu");
  const int fd = open_device(argv[1]);
  struct vfio_device_bind_iommufd bind = {.argsz = sizeof(bind), .iommufd = iommufd};
  if (ioctl(fd, VFIO_DEVICE_BIND_IOMMUFD, &bind)) fail("VFIO_DEVICE_BIND_IOMMUFD");
  for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
    struct vfio_irq_info info = {.argsz = sizeof(info), .index = kinds[i].index};

    if (ioctl(fd, VFIO_DEVICE_GET_IRQ_INFO, &info)) fail("VFIO_DEVICE_GET_IRQ_INFO");
    printf("%s%s %u", i ? " " : "", kinds[i].name, info.count);
  }
  putchar('\n');
  return 0;
}

// SPDX-License-Identifier: BSD-3-Clause
// What the programs in the guest have in common: the end with an error, the open of a function's VFIO device, and its IOAS.
#ifndef E2E_DEVICE_H
#define E2E_DEVICE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include <linux/iommufd.h>
#include <linux/vfio.h>

__attribute__((noreturn)) static inline void fail(const char* what) {
  fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
  exit(2);
}

static inline int open_device(const char* bdf) {
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

struct attached {
  int device, iommufd;
  uint32_t ioas;
};

static inline struct attached attach_device(const char* bdf) {
  struct attached a = {open_device(bdf), open("/dev/iommu", O_RDWR), 0};
  struct vfio_device_bind_iommufd bind = {.argsz = sizeof(bind), .iommufd = a.iommufd};
  struct iommu_ioas_alloc ioas = {.size = sizeof(ioas)};
  struct vfio_device_attach_iommufd_pt attach = {.argsz = sizeof(attach)};

  if (a.iommufd < 0) fail("/dev/iommu");
  if (ioctl(a.device, VFIO_DEVICE_BIND_IOMMUFD, &bind)) fail("VFIO_DEVICE_BIND_IOMMUFD");
  if (ioctl(a.iommufd, IOMMU_IOAS_ALLOC, &ioas)) fail("IOMMU_IOAS_ALLOC");
  a.ioas = attach.pt_id = ioas.out_ioas_id;
  if (ioctl(a.device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach)) fail("VFIO_DEVICE_ATTACH_IOMMUFD_PT");
  return a;
}

/* Of one page, without an IOMMU. */
static inline uint64_t physical_address(const struct attached* a, uint64_t iova) {
  struct iommu_ioas_noiommu_get_pa get = {.size = sizeof(get), .ioas_id = a->ioas, .iova = iova, .length = 1};

  if (ioctl(a->iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &get)) fail("IOMMU_IOAS_NOIOMMU_GET_PA");
  return get.out_phys;
}

#endif

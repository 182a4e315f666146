// SPDX-License-Identifier: BSD-3-Clause
// What the programs in the guest have in common: the end with an error, and the open of a function's VFIO device.
#ifndef E2E_DEVICE_H
#define E2E_DEVICE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void fail(const char* what) {
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

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* A 32-bit program runs; /dev/iommu is not there for it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/transport/echo_abi.h"

int main(void) {
  int fd = open("/dev/null", O_RDWR);
  if (fd < 0 || ioctl(fd, ECHO_OPENS) != -1 || errno != ENOTTY) return 1;
  fd = open("/dev/iommu", O_RDWR);
  if (fd >= 0 && (ioctl(fd, ECHO_OPENS) != -1 || errno != ENOTTY)) return 2;
  return 0;
}

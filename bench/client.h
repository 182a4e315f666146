// SPDX-License-Identifier: BSD-3-Clause
/* What the plain C programs that benchmarks start share. */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline void fail(const char* what) {
  fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
  exit(2);
}

static inline double now_ns(void) {
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* For qsort, of doubles. */
static inline int rising(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;

  return (x > y) - (x < y);
}

/* Opens the VFIO node of a PCI device. */
static inline int open_node_of(const char* bdf) {
  char pattern[128], node[300];
  glob_t found;
  int fd;

  snprintf(pattern, sizeof(pattern), "/sys/bus/pci/devices/%s/vfio-dev/*", bdf);
  if (glob(pattern, 0, NULL, &found) || found.gl_pathc != 1) fail(pattern);
  snprintf(node, sizeof(node), "/dev/vfio/devices/%s", strrchr(found.gl_pathv[0], '/') + 1);
  globfree(&found);
  fd = open(node, O_RDWR | O_CLOEXEC);
  if (fd < 0) fail(node);
  return fd;
}

#endif

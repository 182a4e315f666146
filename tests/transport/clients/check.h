/* SPDX-License-Identifier: BSD-3-Clause */
/* What the clients of the transport tests share. A failed check ends the program with 1; one that the machine cannot run
 * ends it with 77 and the reason. */
#ifndef TESTS_TRANSPORT_CHECK_H
#define TESTS_TRANSPORT_CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/transport/echo_abi.h"

#define CHECK(cond)                                                                                     \
  do {                                                                                                  \
    if (!(cond)) {                                                                                      \
      fprintf(stderr, "%s:%d: %s (errno %d, %s)\n", __FILE__, __LINE__, #cond, errno, strerror(errno)); \
      exit(1);                                                                                          \
    }                                                                                                   \
  } while (0)

/* The call fails, with this errno. */
#define CHECK_ERRNO(call, e)                                                                                  \
  do {                                                                                                        \
    errno = 0;                                                                                                \
    long long r_ = (long long)(call);                                                                         \
    if (r_ != -1 || errno != (e)) {                                                                           \
      fprintf(stderr, "%s:%d: %s = %lld, errno %d (%s), expected %s\n", __FILE__, __LINE__, #call, r_, errno, \
              strerror(errno), #e);                                                                           \
      exit(1);                                                                                                \
    }                                                                                                         \
  } while (0)

#define SKIP(why)                          \
  do {                                     \
    fprintf(stderr, "skipped: %s\n", why); \
    exit(77);                              \
  } while (0)

static inline int open_iommu(void) {
  int fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
  CHECK(fd >= 0);
  return fd;
}

static inline int open_device(void) {
  int fd = open("/dev/vfio/devices/vfio0", O_RDWR | O_CLOEXEC);
  CHECK(fd >= 0);
  return fd;
}

/* The echo ioctl works on this descriptor. */
static inline int echoes(int fd) {
  struct echo_sum s = {.size = sizeof(s), .a = 40, .b = 2};
  return ioctl(fd, ECHO_SUM, &s) == 0 && s.sum == 42;
}

/* The identity of the caller's memory. */
static inline int space_of(int fd) {
  int local = 0;
  return ioctl(fd, ECHO_SPACE, &local);
}

/* Waits for a child; its exit code, or 128 + its signal. */
static inline int wait_for(pid_t pid) {
  int status;
  CHECK(waitpid(pid, &status, 0) == pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#endif

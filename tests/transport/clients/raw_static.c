/* SPDX-License-Identifier: BSD-3-Clause */
/* A program without libc: nothing but system calls, statically linked, its own entry point. */
#include <stdint.h>

#include "tests/transport/echo_abi.h"

enum { kRead = 0, kWrite = 1, kOpen = 2, kClose = 3, kIoctl = 16, kFork = 57, kExit = 60, kWait4 = 61 };

static long call(long n, long a, long b, long c, long d) {
  register long r10 __asm__("r10") = d;
  long r;
  __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
  return r;
}

static void check(int ok, const char* what, long size) {
  if (ok) return;
  call(kWrite, 2, (long)what, size, 0);
  call(kExit, 1, 0, 0, 0);
}
#define CHECK(cond) check(cond, #cond "\n", sizeof(#cond))

__attribute__((force_align_arg_pointer, used)) void _start(void) {
  struct echo_sum s = {.size = sizeof(s), .a = 40, .b = 2};
  long fd = call(kOpen, (long)"/dev/iommu", 2, 0, 0);
  CHECK(fd >= 0);
  CHECK(call(kIoctl, fd, ECHO_SUM, (long)&s, 0) == 0);
  CHECK(s.sum == 42);
  CHECK(call(kIoctl, fd, ECHO_SUM, 0, 0) == -14);
  CHECK(call(kRead, fd, (long)&s, 8, 0) == -22);
  long pid = call(kFork, 0, 0, 0, 0);
  if (pid == 0) call(kExit, call(kIoctl, fd, ECHO_SUM, (long)&s, 0) == 0 ? 0 : 7, 0, 0, 0);
  int status = -1;
  CHECK(call(kWait4, pid, (long)&status, 0, 0) == pid);
  CHECK(status == 0);
  CHECK(call(kClose, fd, 0, 0, 0) == 0);
  CHECK(call(kIoctl, fd, ECHO_SUM, (long)&s, 0) == -9);
  call(kExit, 0, 0, 0, 0);
}

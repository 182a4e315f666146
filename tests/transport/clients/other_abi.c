/* SPDX-License-Identifier: BSD-3-Clause */
/* iommufd's ioctls by the i386 and x32 entries of a 64-bit program: the kernel has no compat entry for them either. */
#include "check.h"

#include <sys/mman.h>
#include <sys/syscall.h>

static long i386(long n, long a, long b, long c) {
  long r;
  __asm__ volatile("int $0x80" : "=a"(r) : "a"(n), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
  return (int)r;
}

int main(void) {
  int fd = open_iommu();
  struct echo_sum* s = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
  CHECK(s != MAP_FAILED);
  *s = (struct echo_sum){.size = sizeof(*s), .a = 1, .b = 1};
  long r = i386(54, fd, ECHO_SUM, (long)s);
  if (r == -ENOSYS) SKIP("no i386 system calls here");
  CHECK(r == -ENOTTY);
  CHECK(s->sum == 0);
  CHECK(i386(20, 0, 0, 0) == getpid());
  CHECK(i386(54, fd, 0x5401, (long)s) == -ENOTTY); /* another type: the kernel's own answer */
  CHECK(syscall(0x40000000 + 514, fd, ECHO_SUM, s) == -1 && (errno == ENOTTY || errno == ENOSYS));
  CHECK(s->sum == 0);
  CHECK(echoes(fd));
  return 0;
}

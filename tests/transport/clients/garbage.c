/* SPDX-License-Identifier: BSD-3-Clause */
/* Nonsense in every argument: each call gets some answer, and the server is there afterwards. */
#include "check.h"

#include <sys/mman.h>
#include <sys/syscall.h>

static uint64_t state = 0x9e3779b97f4a7c15;
static uint64_t next(void) {
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

int main(void) {
  static const int calls[] = {
      SYS_ioctl,   SYS_read,       SYS_pread64,    SYS_pwrite64,   SYS_readv,    SYS_preadv, SYS_preadv2,
      SYS_lseek,   SYS_ftruncate,  SYS_fallocate,  SYS_getdents64, SYS_fstat,    SYS_statx,  SYS_newfstatat,
      SYS_openat2, SYS_readlinkat, SYS_faccessat2, SYS_access,     SYS_readlink, SYS_open,   SYS_openat,
  };
  int fds[3] = {open_iommu(), open_device(), open("/sys/class/echo/number", O_RDONLY)};
  char* scratch = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  munmap(scratch + 32768, 32768);
  for (int i = 0; i < 30000; i++) {
    uint64_t a[6];
    for (int j = 0; j < 6; j++) {
      switch (next() % 8) {
        case 0: a[j] = (uint64_t)fds[next() % 3]; break;
        case 1: a[j] = (uintptr_t)scratch + next() % 40000; break;
        case 2: a[j] = next() % 64; break;
        case 3: a[j] = next(); break;
        case 4: a[j] = (1ull << 44) + next() % 100000; break;
        case 5: a[j] = ~0ull - next() % 5000; break;
        case 6: a[j] = ((uint64_t)';' << 8) + 0x80 + next() % 14; break;
        default: a[j] = 1ull << (next() % 64); break;
      }
    }
    int n = calls[next() % (sizeof(calls) / sizeof(calls[0]))];
    if (n != SYS_open && n != SYS_access && n != SYS_readlink) a[0] = (uint64_t)fds[next() % 3];
    if (n == SYS_ioctl) {
      a[1] = ((uint64_t)';' << 8) + next() % 256;
      if ((a[1] & 0xff) == 0x83 || (a[1] & 0xff) == 0x85) /* sleeps; changes other files */
        continue;
    }
    if ((n == SYS_open || n == SYS_openat || n == SYS_openat2) && next() % 2)
      snprintf(scratch + 100, 100, "/dev/%s", next() % 2 ? "iommu" : "vfio/devices/vfio0"),
          a[n != SYS_open] = (uintptr_t)scratch + 100;
    long r = syscall(n, a[0], a[1], a[2], a[3], a[4], a[5]);
    if ((n == SYS_open || n == SYS_openat || n == SYS_openat2) && r > 2 && r != fds[0] && r != fds[1] && r != fds[2])
      close((int)r);
  }
  CHECK(echoes(fds[0]));
  return 0;
}

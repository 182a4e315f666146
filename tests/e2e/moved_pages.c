// SPDX-License-Identifier: BSD-3-Clause
// moved_pages [BDF]: which pages of a process the kernel moves when it compacts memory. Four kinds of memory of 8 MiB each: plain,
// locked by mlock2(), held by the registered buffers of an io_uring, and, with BDF of a function without an IOMMU, mapped into an
// IOAS (under `iommufd-user run -d host`). They are touched a page of each in turn, with two pages of a filler between; the filler goes,
// which leaves holes everywhere, and 1 is written to /proc/sys/vm/compact_memory. What /proc/self/pagemap says before and afterwards
// is compared, and what IOMMU_IOAS_NOIOMMU_GET_PA says before and afterwards with both. One line for each kind:
//   KIND MOVED of PAGES pages moved
// Root (frames are hidden from others). Exit: 0 whatever was found; 2 what fails.
#define _GNU_SOURCE

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/io_uring.h>

#include "device.h"

enum { kPages = 2048, kPage = 4096, kFillers = 2, kIova = 1 << 30 };

struct memory {
  const char* name;
  uint8_t* base;
  uint64_t before[kPages], after[kPages]; /* physical addresses */
};
static struct memory plain = {.name = "plain"}, locked = {.name = "mlock"}, registered = {.name = "io_uring"},
                     mapped = {.name = "ioas"};
static uint64_t said_before[kPages], said_after[kPages];

static uint8_t* take(size_t size) {
  uint8_t* p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  if (p == MAP_FAILED) fail("mmap");
  if (madvise(p, size, MADV_NOHUGEPAGE)) fail("MADV_NOHUGEPAGE");
  return p;
}

static void write_one(const char* path) {
  const int fd = open(path, O_WRONLY);

  if (fd < 0 || write(fd, "1", 1) != 1) fail(path);
  close(fd);
}

/* Who reads a pagemap under `iommufd-user run` gets pages that stay where they are (docs/abi-matrix.md, difference 27), so a process of
 * its own reads ours: it is sent an address, and answers with kPages entries. */
static int reader;

static void start_reader(void) {
  const pid_t us = getpid();
  int ends[2];
  char path[64];

  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) fail("socketpair");
  reader = ends[0];
  if (fork()) {
    close(ends[1]);
    return;
  }
  close(ends[0]);
  snprintf(path, sizeof(path), "/proc/%d/pagemap", us);
  for (uintptr_t base; read(ends[1], &base, sizeof(base)) == sizeof(base);) {
    static uint64_t entries[kPages];
    const int fd = open(path, O_RDONLY);

    if (fd < 0 || pread(fd, entries, sizeof(entries), (off_t)(base / kPage * sizeof(*entries))) != sizeof(entries))
      fail(path);
    close(fd);
    if (write(ends[1], entries, sizeof(entries)) != sizeof(entries)) fail("write");
  }
  _exit(0);
}

/* Linux Documentation/admin-guide/mm/pagemap.rst: bit 63 present, bits 0-54 the frame. */
static void read_frames(const uint8_t* base, uint64_t* out) {
  const uintptr_t address = (uintptr_t)base;
  const ssize_t size = (ssize_t)(kPages * sizeof(*out));

  if (write(reader, &address, sizeof(address)) != sizeof(address) ||
      recv(reader, out, (size_t)size, MSG_WAITALL) != size)
    fail("the reader of the pagemap");
  for (unsigned i = 0; i < kPages; i++) {
    const uint64_t frame = out[i] & ((UINT64_C(1) << 55) - 1);

    if (!(out[i] >> 63) || !frame) errno = EPERM, fail("a page without a frame");
    out[i] = frame * kPage;
  }
}

static unsigned differing(const uint64_t* a, const uint64_t* b) {
  unsigned n = 0;

  for (unsigned i = 0; i < kPages; i++) n += a[i] != b[i];
  return n;
}

/* The ring lives as long as we do, and with it the pins. */
static void hold_in_ring(uint8_t* base) {
  struct io_uring_params params = {0};
  const struct iovec buffer = {base, (size_t)kPages * kPage};
  const long ring = syscall(SYS_io_uring_setup, 1, &params);

  if (ring < 0) fail("io_uring_setup");
  if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &buffer, 1)) fail("IORING_REGISTER_BUFFERS");
}

/* ---- the IOAS of a function without an IOMMU ------------------------------------------------------------ */

static struct attached map_for(const char* bdf, uint8_t* base) {
  const struct attached a = attach_device(bdf);
  struct iommu_ioas_map map = {.size = sizeof(map),
                               .flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE,
                               .ioas_id = a.ioas,
                               .user_va = (uintptr_t)base,
                               .length = (uint64_t)kPages * kPage,
                               .iova = kIova};

  if (ioctl(a.iommufd, IOMMU_IOAS_MAP, &map)) fail("IOMMU_IOAS_MAP");
  return a;
}

static void read_addresses(const struct attached* a, uint64_t* out) {
  for (unsigned i = 0; i < kPages; i++) out[i] = physical_address(a, kIova + (uint64_t)i * kPage);
}

/* ---- the experiment --------------------------------------------------------------------------------------- */

int main(int argc, char** argv) {
  const size_t size = (size_t)kPages * kPage;
  const char* bdf = argc > 1 ? argv[1] : NULL;
  struct memory* const all[] = {&plain, &locked, &registered, &mapped};
  const unsigned kinds = bdf ? 4 : 3;
  uint8_t* const filler = take(size * kFillers);
  struct attached attached = {-1, -1, 0};

  start_reader();
  for (unsigned k = 0; k < kinds; k++) all[k]->base = take(size);
  if (syscall(SYS_mlock2, locked.base, size, 1 /* MLOCK_ONFAULT */)) fail("mlock2");
  for (size_t i = 0; i < kPages; i++) {
    for (unsigned k = 0; k < kinds; k++) all[k]->base[i * kPage] = 1;
    for (size_t f = 0; f < kFillers; f++) filler[(i * kFillers + f) * kPage] = 1;
  }
  hold_in_ring(registered.base);
  if (bdf) attached = map_for(bdf, mapped.base);
  for (unsigned k = 0; k < kinds; k++) read_frames(all[k]->base, all[k]->before);
  if (bdf) read_addresses(&attached, said_before);

  munmap(filler, size * kFillers);
  write_one("/proc/sys/vm/compact_unevictable_allowed");
  write_one("/proc/sys/vm/compact_memory");

  for (unsigned k = 0; k < kinds; k++) {
    read_frames(all[k]->base, all[k]->after);
    printf("%s %u of %d pages moved\n", all[k]->name, differing(all[k]->before, all[k]->after), kPages);
  }
  if (bdf) {
    read_addresses(&attached, said_after);
    printf("GET_PA differs from the frames: %u before, %u afterwards; from what it said: %u\n",
           differing(said_before, mapped.before), differing(said_after, mapped.after),
           differing(said_before, said_after));
  }
  return 0;
}

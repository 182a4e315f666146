/* SPDX-License-Identifier: BSD-3-Clause */
/* Physical addresses from /proc/self/pagemap, for the clients that read them. */
#ifndef CLIENTS_PAGEMAP_H
#define CLIENTS_PAGEMAP_H

#include "client.h"

/* The address of the byte at `va`; 0 when pagemap does not say it. */
static inline uint64_t physical(const void* va) {
  uint64_t entry = 0;
  const int fd = open("/proc/self/pagemap", O_RDONLY);
  NEED(fd);
  REQUIRE(CHECK_EQ(pread(fd, &entry, 8, (off_t)((uintptr_t)va / PAGE * 8)), 8));
  close(fd);
  CHECK(entry >> 63); /* present */
  return (entry & ((1ull << 55) - 1)) * PAGE + (uintptr_t)va % PAGE;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands of the files that tests/transport serves: small questions about what the transport shows the engine. */
#ifndef TESTS_TRANSPORT_ECHO_ABI_H
#define TESTS_TRANSPORT_ECHO_ABI_H

#include <stdint.h>
#include <sys/ioctl.h>

/* 40 bytes in and out, as IOMMU_IOAS_MAP has them. */
struct echo_sum {
  uint32_t size;
  uint32_t flags;
  uint64_t a;
  uint64_t b;
  uint64_t sum;   /* out: a + b */
  uint64_t calls; /* out: of this open file */
};

struct echo_memory {
  uint64_t va;
  uint64_t length;    /* at most 1 MiB for DMA */
  uint32_t access;    /* 1 read, 2 write */
  uint32_t value;     /* DMA: the byte to write, or out: the sum of the bytes read modulo 2^32 */
  uint64_t pages;     /* populate, out */
  uint64_t runs;      /* populate, out */
  uint64_t space;     /* populate, out: of the first run */
  uint64_t index;     /* populate, out: of the first run */
  uint64_t page_size; /* populate, out: of the first run */
};

/* The stores into region 0 that were trapped. */
struct echo_stores {
  uint64_t count;
  uint64_t looks;  /* after stores that could not be trapped */
  uint64_t offset; /* of the last one, in the region */
  uint64_t size;
  uint64_t value;
};

#define ECHO_SUM _IO(';', 0x80)
#define ECHO_OPENS _IO(';', 0x81)    /* value: how many echo files are open */
#define ECHO_CLAIM _IO(';', 0x82)    /* EBUSY when another open file has claimed */
#define ECHO_SLEEP _IO(';', 0x83)    /* arg: milliseconds */
#define ECHO_RESOLVE _IO(';', 0x84)  /* arg: descriptor; value 1: an echo file, 2: this very open, 0: another's */
#define ECHO_SIGNAL _IO(';', 0x85)   /* arg: eventfd; adds 1 to it */
#define ECHO_POPULATE _IO(';', 0x86) /* arg: struct echo_memory */
#define ECHO_DMA _IO(';', 0x87)      /* arg: struct echo_memory; by another thread, EFAULT as for a device */
#define ECHO_MEMLOCK _IO(';', 0x88)  /* value: RLIMIT_MEMLOCK in pages, -1 truncated to INT_MAX */
#define ECHO_CAPABLE _IO(';', 0x89)  /* arg: capability; value 0 or 1 */
#define ECHO_PEEK _IO(';', 0x8a)     /* arg: offset in region 0; value: the byte there, as the engine sees it */
#define ECHO_SPACE _IO(';', 0x8b)    /* arg: an address in private memory; value: the space of its key */
#define ECHO_CALLS _IO(';', 0x8c)    /* value: calls of all files so far */
#define ECHO_HOLD \
  _IO(';', 0x8d) /* arg: struct echo_memory; populates it and keeps it; value 1: loads and stores reach it */
#define ECHO_HELD_DMA _IO(';', 0x8e) /* arg: struct echo_memory; DMA to what ECHO_HOLD kept last */

#define ECHO_TRAP _IO(';', 0x8f)   /* arg 1: stores into region 0 are trapped from the next mmap on */
#define ECHO_STORES _IO(';', 0x90) /* arg: struct echo_stores, out; value: how many stores were trapped */

#define ECHO_REGION0 ((int64_t)1 << 44)
#define ECHO_REGION0_SIZE 65536

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The edu device (1234:11e8) for the conformance programs: registers by pread and pwrite at the offset that
 * GET_REGION_INFO gives, and DMA commands that wait by polling the busy bit.
 */
#ifndef CONFORMANCE_EDU_H
#define CONFORMANCE_EDU_H

#include <linux/pci_regs.h>
#include <time.h>

#include "uapi.h"

#define EDU_ID 0x00
#define EDU_LIVENESS 0x04
#define EDU_FACTORIAL 0x08
#define EDU_STATUS 0x20
#define EDU_IRQ_STATUS 0x24
#define EDU_IRQ_RAISE 0x60
#define EDU_IRQ_ACK 0x64
#define EDU_DMA_SOURCE 0x80
#define EDU_DMA_DESTINATION 0x88
#define EDU_DMA_COUNT 0x90
#define EDU_DMA_COMMAND 0x98
#define EDU_BUFFER 0x40000u

enum { EDU_BUSY = 1, EDU_TO_RAM = 2, EDU_INTERRUPT = 4 };

struct edu {
  struct vdev dev;
  uint64_t bar, config;
};

static inline uint32_t edu_read4(const struct edu* e, uint64_t offset) {
  uint32_t v = 0;
  CHECK_EQ(pread(e->dev.fd, &v, 4, (off_t)(e->bar + offset)), 4);
  return v;
}

static inline uint64_t edu_read8(const struct edu* e, uint64_t offset) {
  uint64_t v = 0;
  CHECK_EQ(pread(e->dev.fd, &v, 8, (off_t)(e->bar + offset)), 8);
  return v;
}

static inline void edu_write4(const struct edu* e, uint64_t offset, uint32_t v) {
  CHECK_EQ(pwrite(e->dev.fd, &v, 4, (off_t)(e->bar + offset)), 4);
}

static inline void edu_write8(const struct edu* e, uint64_t offset, uint64_t v) {
  CHECK_EQ(pwrite(e->dev.fd, &v, 8, (off_t)(e->bar + offset)), 8);
}

static inline uint64_t config_read(const struct edu* e, unsigned offset, unsigned bytes) {
  uint64_t v = 0;
  CHECK_EQ(pread(e->dev.fd, &v, bytes, (off_t)(e->config + offset)), bytes);
  return v;
}

static inline void config_write(const struct edu* e, unsigned offset, unsigned bytes, uint64_t v) {
  CHECK_EQ(pwrite(e->dev.fd, &v, bytes, (off_t)(e->config + offset)), bytes);
}

static inline void set_command(const struct edu* e, uint16_t set, uint16_t clear) {
  config_write(e, PCI_COMMAND, 2, (config_read(e, PCI_COMMAND, 2) | set) & ~(uint64_t)clear);
}

/* QEMU's edu has no reset: what an earlier test left pending there is taken back. */
static inline void edu_quiet(const struct edu* e) {
  edu_write4(e, EDU_STATUS, 0);
  edu_write4(e, EDU_IRQ_ACK, NO_ID);
}

/* Finds BAR 0 and config space of a device in use, which may be another than an edu; memory decoding and bus mastering on. */
static inline struct edu edu_from(struct vdev d) {
  struct edu e = {.dev = d};
  struct vfio_region_info info;
  REQUIRE(CHECK_OK(region_info(&d, VFIO_PCI_BAR0_REGION_INDEX, &info)));
  e.bar = info.offset;
  REQUIRE(CHECK_OK(region_info(&d, VFIO_PCI_CONFIG_REGION_INDEX, &info)));
  e.config = info.offset;
  set_command(&e, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0);
  if (is_edu(d.bdf)) edu_quiet(&e);
  return e;
}

static inline struct edu edu_open(enum kind kind, int nth, int iommufd) {
  return edu_from(open_and_bind(kind, nth, iommufd));
}

/* Waits up to 5 s until the bits of a register are clear. */
static inline bool edu_wait_clear(const struct edu* e, uint64_t offset, uint32_t bits) {
  for (int i = 0; i < 5000; i++) {
    if ((edu_read4(e, offset) & bits) == 0) return true;
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
  return CHECK(!"the device stays busy");
}

static inline void edu_dma(const struct edu* e, uint64_t source, uint64_t destination, uint64_t count,
                           uint32_t direction) {
  edu_write8(e, EDU_DMA_SOURCE, source);
  edu_write8(e, EDU_DMA_DESTINATION, destination);
  edu_write8(e, EDU_DMA_COUNT, count);
  edu_write4(e, EDU_DMA_COMMAND, EDU_BUSY | direction);
  edu_wait_clear(e, EDU_DMA_COMMAND, EDU_BUSY);
}

/* RAM at bus address `from` into the device's buffer, and the buffer into RAM at bus address `to`. */
static inline void edu_load(const struct edu* e, uint64_t from, uint64_t n) { edu_dma(e, from, EDU_BUFFER, n, 0); }
static inline void edu_store(const struct edu* e, uint64_t to, uint64_t n) {
  edu_dma(e, EDU_BUFFER, to, n, EDU_TO_RAM);
}

/* A pattern that differs from page to page. */
static inline void fill(uint8_t* p, size_t n, unsigned seed) {
  for (size_t i = 0; i < n; i++) p[i] = (uint8_t)(seed * 61 + i * 7 + i / 251);
}

static inline bool filled(const uint8_t* p, size_t n, unsigned seed) {
  for (size_t i = 0; i < n; i++)
    if (p[i] != (uint8_t)(seed * 61 + i * 7 + i / 251)) return false;
  return true;
}

#endif

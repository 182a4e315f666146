/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the programs of this folder share. Each of them does what one client of clients.md does, call by call and in its order:
 * the opens, stats, links, ioctls and mmaps, with the conditions that the client insists on. The device is an edu device,
 * because what is shown is the way in and not the client's own driver; where the client polls or writes registers, the
 * program does that with edu's.
 *
 * CLIENT_BDF is the device (default 0000:01:00.0).
 */
#ifndef CLIENTS_CLIENT_H
#define CLIENTS_CLIENT_H

#define _GNU_SOURCE
#include <poll.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include "edu.h"

/* A call that the client cannot do without. */
#define NEED(call) REQUIRE(CHECK_OK(call))

static inline const char* bdf(void) {
  const char* b = getenv("CLIENT_BDF");
  return b ? b : "0000:01:00.0";
}

/* A path made with printf, good until four more were made. */
__attribute__((format(printf, 1, 2))) static inline const char* path(const char* format, ...) {
  static char paths[4][PATH_MAX];
  static unsigned next;
  char* p = paths[next++ % 4];
  va_list args;
  va_start(args, format);
  vsnprintf(p, PATH_MAX, format, args);
  va_end(args);
  return p;
}

static inline const char* device_path(const char* name) { return path("/sys/bus/pci/devices/%s/%s", bdf(), name); }

/* A file read through stdio, as most clients do; without its newline. */
static inline const char* text_of(const char* file) {
  static char text[4096];
  FILE* f = fopen(file, "re");
  REQUIRE(CHECK(f != NULL));
  REQUIRE(CHECK(fgets(text, sizeof(text), f) != NULL));
  fclose(f);
  text[strcspn(text, "\n")] = 0;
  return text;
}

static inline unsigned long number_of(const char* file) { return strtoul(text_of(file), NULL, 0); }

/* The last component of what a link leads to, or NULL when there is no such link. */
static inline const char* link_name(const char* link) {
  static char target[PATH_MAX];
  const ssize_t n = readlink(link, target, sizeof(target) - 1);
  if (n < 0) return NULL;
  target[n] = 0;
  return strrchr(target, '/') ? strrchr(target, '/') + 1 : target;
}

/* The entries of a directory without "." and "..", sorted; their number. */
static inline int entries_of(const char* directory, char names[][64], int room) {
  struct dirent** entries;
  int num = 0;
  const int n = scandir(directory, &entries, NULL, compare_names);
  for (int i = 0; i < n; i++) {
    if (entries[i]->d_name[0] != '.' && num < room) snprintf(names[num++], 64, "%.63s", entries[i]->d_name);
    free(entries[i]);
  }
  if (n >= 0) free(entries);
  return n < 0 ? -1 : num;
}

/* ---- device calls that many clients do alike ---------------------------------------------------------- */

static inline struct vfio_device_info device_info(int device) {
  struct vfio_device_info info = {.argsz = sizeof(info)};
  NEED(ioctl(device, VFIO_DEVICE_GET_INFO, &info));
  return info;
}

static inline struct vfio_region_info region_of(int device, uint32_t index) {
  struct vfio_region_info info = {.argsz = sizeof(info), .index = index};
  NEED(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info));
  return info;
}

static inline struct vfio_irq_info irq_of(int device, uint32_t index) {
  struct vfio_irq_info info = {.argsz = sizeof(info), .index = index};
  NEED(ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, &info));
  return info;
}

/* SET_IRQS with `count` eventfds (or 0 and DATA_NONE, to disable). */
static inline int set_irqs(int device, uint32_t index, uint32_t count, const int32_t* fds) {
  _Alignas(8) char buffer[sizeof(struct vfio_irq_set) + 64 * 4];
  struct vfio_irq_set* set = (struct vfio_irq_set*)buffer;
  *set = (struct vfio_irq_set){
      .argsz = (uint32_t)(sizeof(*set) + count * 4),
      .flags = VFIO_IRQ_SET_ACTION_TRIGGER | (count ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE),
      .index = index,
      .count = count};
  if (count) memcpy(set->data, fds, count * 4);
  return ioctl(device, VFIO_DEVICE_SET_IRQS, set);
}

/* One interrupt by way of the loop-back of SET_IRQS. */
static inline int raise_irq(int device, uint32_t index, uint32_t vector) {
  struct vfio_irq_set set = {.argsz = sizeof(set),
                             .flags = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_NONE,
                             .index = index,
                             .start = vector,
                             .count = 1};
  return ioctl(device, VFIO_DEVICE_SET_IRQS, &set);
}

/* True when the eventfd is signalled within five seconds; takes the signal. */
static inline bool signalled(int fd) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  uint64_t count;
  return poll(&p, 1, 5000) == 1 && read(fd, &count, sizeof(count)) == sizeof(count);
}

/* Sets bits of the command register through the config region. */
static inline void enable_device(int device, uint16_t bits) {
  const uint64_t config = region_of(device, VFIO_PCI_CONFIG_REGION_INDEX).offset;
  uint16_t command;
  REQUIRE(CHECK_EQ(pread(device, &command, 2, (off_t)(config + PCI_COMMAND)), 2));
  command |= bits;
  REQUIRE(CHECK_EQ(pwrite(device, &command, 2, (off_t)(config + PCI_COMMAND)), 2));
}

static inline void* map_bar(int device, const struct vfio_region_info* info, int prot) {
  void* p = mmap(NULL, info->size, prot, MAP_SHARED, device, (off_t)info->offset);
  REQUIRE(CHECK(p != MAP_FAILED));
  return p;
}

/* ---- the device behind it: edu, by loads and stores of its mapped BAR ---------------------------------- */

static inline void store4(volatile void* bar, uint32_t offset, uint32_t v) {
  *(volatile uint32_t*)((volatile char*)bar + offset) = v;
}
static inline void store8(volatile void* bar, uint32_t offset, uint64_t v) {
  *(volatile uint64_t*)((volatile char*)bar + offset) = v;
}
static inline uint32_t load4(volatile void* bar, uint32_t offset) {
  return *(volatile uint32_t*)((volatile char*)bar + offset);
}

/* One DMA command; `flags` beside EDU_BUSY. */
static inline bool mapped_dma(volatile void* bar, uint64_t source, uint64_t destination, uint64_t count,
                              uint32_t flags) {
  store8(bar, EDU_DMA_SOURCE, source);
  store8(bar, EDU_DMA_DESTINATION, destination);
  store8(bar, EDU_DMA_COUNT, count);
  store4(bar, EDU_DMA_COMMAND, EDU_BUSY | flags);
  for (int i = 0; i < 5000; i++) {
    if ((load4(bar, EDU_DMA_COMMAND) & EDU_BUSY) == 0) return true;
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
  return CHECK(!"the device stays busy");
}

/* `count` bytes at device address `from` arrive at `to`, which are `source` and `sink` in memory. */
static inline void check_mapped_copy(volatile void* bar, uint64_t from, uint64_t to, uint8_t* source,
                                     const uint8_t* sink, size_t count) {
  fill(source, count, (unsigned)(from >> 12) + 3);
  mapped_dma(bar, from, EDU_BUFFER, count, 0);
  mapped_dma(bar, EDU_BUFFER, to, count, EDU_TO_RAM);
  CHECK(memcmp(source, sink, count) == 0);
}

/* The same with registers that are read and written by pread and pwrite, by clients that map nothing. */
static inline void check_copy(int device, uint64_t from, uint64_t to, uint8_t* source, const uint8_t* sink,
                              size_t count) {
  const struct edu e = {.dev = {.fd = device}, .bar = region_of(device, 0).offset};
  fill(source, count, (unsigned)(from >> 12) + 5);
  edu_load(&e, from, count);
  edu_store(&e, to, count);
  CHECK(memcmp(source, sink, count) == 0);
}

#endif

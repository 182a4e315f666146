// SPDX-License-Identifier: BSD-3-Clause
// vfio_report BDF: what VFIO's device file says of a function without an IOMMU, opened through its group: information, what
// config space reads and which of its bits a client can change, what reads, writes and mappings of each region answer, features. The
// text holds nothing that differs from one open to the next, so that what two drivers of the same function say can be compared.
#define _GNU_SOURCE

#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device.h"

static int device;
static uint64_t config;  // where config space is in the file
static unsigned config_size;

static const char* said(long result) { return result >= 0 ? "ok" : strerrorname_np(errno); }

static void report_regions(unsigned count) {
  for (unsigned i = 0; i <= count; i++) {
    _Alignas(8) char room[4096] = {0};
    struct vfio_region_info* info = (struct vfio_region_info*)room;

    *info = (struct vfio_region_info){.argsz = sizeof(room), .index = i};
    const int r = ioctl(device, VFIO_DEVICE_GET_REGION_INFO, info);
    printf("region %u: %s", i, said(r));
    if (r == 0) printf(" size %#llx flags %#x argsz %#x", (unsigned long long)info->size, info->flags, info->argsz);
    for (unsigned at = r == 0 ? info->cap_offset : 0, steps = 0; at != 0 && steps < 8; steps++) {
      const struct vfio_info_cap_header* head = (const struct vfio_info_cap_header*)(room + at);
      printf(" cap %u.%u", head->id, head->version);
      at = head->next;
    }
    putchar('\n');
    if (i == VFIO_PCI_CONFIG_REGION_INDEX) {
      config = info->offset;
      config_size = (unsigned)info->size;
    }
  }
}

static void report_interrupts(unsigned count) {
  for (unsigned i = 0; i <= count; i++) {
    struct vfio_irq_info info = {.argsz = sizeof(info), .index = i};
    const int r = ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, &info);
    printf("interrupt %u: %s", i, said(r));
    if (r == 0) printf(" count %u flags %#x", info.count, info.flags);
    putchar('\n');
  }
}

#define VECTORS 64

// An event for each of the first vectors of an index.
static int set_events(unsigned index, unsigned count, const int32_t* events) {
  _Alignas(8) char room[sizeof(struct vfio_irq_set) + VECTORS * sizeof(*events)] = {0};
  struct vfio_irq_set* set = (struct vfio_irq_set*)room;

  *set = (struct vfio_irq_set){
      .argsz = sizeof(room),
      .flags = VFIO_IRQ_SET_ACTION_TRIGGER | (count ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE),
      .index = index,
      .count = count};
  memcpy(set->data, events, count * sizeof(*events));
  return ioctl(device, VFIO_DEVICE_SET_IRQS, set);
}

static unsigned signalled(unsigned count, const int32_t* events) {
  unsigned n = 0;
  uint64_t v;
  for (unsigned i = 0; i < count; i++) n += read(events[i], &v, sizeof(v)) == sizeof(v);
  return n;
}

// As many vectors as there are, and fewer: how many the call grants (0: all), and how many a loop-back reaches.
static void report_vectors(unsigned index) {
  struct vfio_irq_info info = {.argsz = sizeof(info), .index = index};
  int32_t events[VECTORS];

  if (ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, &info) != 0 || info.count == 0) return;
  const unsigned most = info.count < VECTORS ? info.count : VECTORS;
  for (unsigned i = 0; i < most; i++) events[i] = eventfd(0, EFD_NONBLOCK);
  for (unsigned n = most; n != 0; n /= 2) {
    struct vfio_irq_set all = {.argsz = sizeof(all),
                               .flags = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_NONE,
                               .index = index,
                               .count = n};
    const int r = set_events(index, n, events);
    printf("interrupt %u: %u asked for: %s %d", index, n, said(r), r);
    printf(", loop-back %s", said(ioctl(device, VFIO_DEVICE_SET_IRQS, &all)));
    printf(": %u", signalled(most, events));
    printf(", off %s\n", said(set_events(index, 0, events)));
  }
  for (unsigned i = 0; i < most; i++) close(events[i]);
}

static void report_features(void) {
  for (unsigned i = 0; i <= 10; i++) {  // those of Linux 6.12
    struct vfio_device_feature f = {.argsz = sizeof(f),
                                    .flags = i | VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_GET};
    printf("feature %u: get %s", i, said(ioctl(device, VFIO_DEVICE_FEATURE, &f)));
    f.flags = i | VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_SET;
    printf(" set %s\n", said(ioctl(device, VFIO_DEVICE_FEATURE, &f)));
  }
}

static uint8_t get(unsigned at) {
  uint8_t v = 0;
  if (pread(device, &v, 1, (off_t)(config + at)) != 1) fail("read of config space");
  return v;
}

static void put(unsigned at, uint8_t v) {
  if (pwrite(device, &v, 1, (off_t)(config + at)) != 1) fail("write of config space");
}

static void report_config(const char* when) {
  for (unsigned at = 0; at < config_size; at += 16) {
    uint8_t line[16];
    bool zero = true;
    if (pread(device, line, 16, (off_t)(config + at)) != 16) fail("read of config space");
    for (int i = 0; i < 16; i++) zero &= line[i] == 0;
    if (zero) continue;
    printf("config %s %03x:", when, at);
    for (int i = 0; i < 16; i++) printf(" %02x", line[i]);
    putchar('\n');
  }
}

// Bits of a byte that are left as they are: power state, reset, self test; SERR Enable (docs/host.md, "Not there").
static uint8_t spared(unsigned at) {
  unsigned steps = 0;
  if (at == PCI_BIST) return 0xff;
  if (at == PCI_COMMAND + 1) return PCI_COMMAND_SERR >> 8;
  for (unsigned cap = get(PCI_CAPABILITY_LIST); cap != 0 && steps < 48; cap = get(cap + 1), steps++) {
    if (get(cap) == PCI_CAP_ID_PM && at == cap + PCI_PM_CTRL) return PCI_PM_CTRL_STATE_MASK;
    if (get(cap) == PCI_CAP_ID_EXP && at == cap + PCI_EXP_DEVCTL + 1) return PCI_EXP_DEVCTL_BCR_FLR >> 8;
    if (get(cap) == PCI_CAP_ID_AF && at == cap + PCI_AF_CTRL) return PCI_AF_CTRL_FLR;
  }
  return 0;
}

// A byte before it is written, after all ones, after all zeroes, and after what it was.
struct trial {
  uint8_t before, set, cleared, after;
};

static struct trial try_byte(unsigned at) {
  struct trial t = {.before = get(at)};
  const uint8_t spare = spared(at), kept = t.before & spare;
  put(at, (uint8_t)~spare | kept);
  t.set = get(at);
  put(at, kept);
  t.cleared = get(at);
  put(at, t.before);
  t.after = get(at);
  return t;
}

// Each byte by itself; a line for neighbours that do the same.
static void report_writable(void) {
  static struct trial bytes[4096];
  for (unsigned at = 0; at < config_size; at++) bytes[at] = try_byte(at);
  for (unsigned at = 0, end; at < config_size; at = end) {
    const struct trial t = bytes[at];
    for (end = at + 1; end < config_size && memcmp(&bytes[end], &t, sizeof(t)) == 0; end++) continue;
    if (t.set == t.before && t.cleared == t.before && t.after == t.before) continue;
    printf("config %03x to %03x: %02x, after ones %02x, after zeroes %02x, after what it was %02x\n", at, end - 1,
           t.before, t.set, t.cleared, t.after);
  }
}

static void report_access(unsigned index) {
  struct vfio_region_info info = {.argsz = sizeof(info), .index = index};
  static char buffer[64], zeroes[64];

  if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info) != 0) return;
  const off_t start = (off_t)info.offset, end = (off_t)(info.offset + info.size);
  printf("region %u: read of nothing %s", index, said(pread(device, buffer, 0, start)));
  printf(", at the end %s", said(pread(device, buffer, 4, end)));
  printf(", write at the end %s", said(pwrite(device, zeroes, 4, end)));
  if (info.size >= 64) {
    const ssize_t n = pread(device, buffer, 64, end - 16);
    printf(", read across the end %s %zd", said(n), n);
  }
  void* map = mmap(NULL, info.size ? info.size : 4096, PROT_READ | PROT_WRITE, MAP_SHARED, device, start);
  printf("; map %s", map == MAP_FAILED ? strerrorname_np(errno) : "ok");
  if (map != MAP_FAILED) munmap(map, info.size ? info.size : 4096);
  map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, device, start);
  printf(", private %s", map == MAP_FAILED ? strerrorname_np(errno) : "ok");
  map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, device, end);
  printf(", at the end %s\n", map == MAP_FAILED ? strerrorname_np(errno) : "ok");
}

// The registers that every function here has at the start of BAR 0 and can be read without an effect; by size.
static void report_registers(void) {
  struct vfio_region_info info = {.argsz = sizeof(info), .index = 0};
  uint8_t word[8];

  if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info) != 0 || info.size == 0) return;
  for (unsigned bytes = 1; bytes <= 8; bytes++) {
    memset(word, 0, sizeof(word));
    const ssize_t n = pread(device, word, bytes, (off_t)info.offset);
    printf("BAR 0, %u bytes: %s %zd:", bytes, said(n), n);
    for (unsigned i = 0; i < bytes; i++) printf(" %02x", word[i]);
    putchar('\n');
  }
  put(PCI_COMMAND, get(PCI_COMMAND) & (uint8_t)~PCI_COMMAND_MEMORY);
  printf("BAR 0, memory decoding off: read %s", said(pread(device, word, 4, (off_t)info.offset)));
  printf(", write %s\n", said(pwrite(device, word, 4, (off_t)info.offset)));
  put(PCI_COMMAND, get(PCI_COMMAND) | PCI_COMMAND_MEMORY);
}

// In a container of its own.
static int open_in_group(const char* bdf) {
  char path[300], target[300];

  snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", bdf);
  const ssize_t length = readlink(path, target, sizeof(target) - 1);
  if (length < 0) fail(path);
  target[length] = 0;
  snprintf(path, sizeof(path), "/dev/vfio/noiommu-%.16s", strrchr(target, '/') + 1);
  const int group = open(path, O_RDWR);
  if (group < 0) fail(path);
  const int container = open("/dev/vfio/vfio", O_RDWR);
  if (container < 0) fail("/dev/vfio/vfio");
  if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container)) fail("VFIO_GROUP_SET_CONTAINER");
  if (ioctl(container, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU)) fail("VFIO_SET_IOMMU");
  const int fd = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
  if (fd < 0) fail("VFIO_GROUP_GET_DEVICE_FD");
  return fd;
}

int main(int argc, char** argv) {
  struct vfio_device_info info = {.argsz = sizeof(info)};
  uint32_t hit[64] = {sizeof(hit)};

  if (argc != 2) return 2;
  device = open_in_group(argv[1]);
  if (ioctl(device, VFIO_DEVICE_GET_INFO, &info)) fail("VFIO_DEVICE_GET_INFO");
  printf("device: flags %#x regions %u interrupts %u argsz %#x\n", info.flags, info.num_regions, info.num_irqs,
         info.argsz);
  report_regions(info.num_regions);
  report_interrupts(info.num_irqs);
  for (unsigned i = 0; i < info.num_irqs; i++) report_vectors(i);
  report_features();
  report_config("opened");
  report_writable();
  put(PCI_COMMAND, get(PCI_COMMAND) | PCI_COMMAND_MEMORY);
  report_config("tried");
  report_registers();
  for (unsigned i = 0; i < info.num_regions; i++) report_access(i);
  printf("reset %s\n", said(ioctl(device, VFIO_DEVICE_RESET)));
  report_config("reset");
  printf("hot reset information %s\n", said(ioctl(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, hit)));
  return 0;
}

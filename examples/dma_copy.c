/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dma_copy: copies a file through PCI devices by DMA and checks that every byte arrived.
 *
 * It is written for the edu device (1234:11e8, "an educational PCI device") and uses nothing but the kernel's
 * own interface: /dev/iommu, the VFIO device file, config space, BAR 0 and one MSI. The device has a buffer
 * of 4096 bytes; each chunk of the file goes RAM -> buffer -> RAM by two DMA commands, and the device raises
 * an interrupt after each.
 *
 * Devices behind an IOMMU and devices without one are driven by the same code. They differ in one place,
 * dma_runs(): behind an IOMMU the address that the device uses is the IOVA; without one it is the physical
 * address, and memory that is contiguous to us comes in as many runs as there are physically contiguous
 * pieces.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <glob.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <linux/iommufd.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include "sha256.h"

#define EXIT_DIFFERENT 1
#define EXIT_ERROR 2

/* ---- the edu device ---------------------------------------------------------------------------------- */

#define EDU_VENDOR 0x1234
#define EDU_DEVICE 0x11e8

#define EDU_ID 0x00      /* 4 bytes: version, and 0xed in the low byte */
#define EDU_IRQ_ACK 0x64 /* 4 bytes */
#define EDU_DMA 0x80     /* struct edu_dma: four 8-byte registers; writing the last one starts the transfer */
#define EDU_DMA_START 0x01
#define EDU_DMA_TO_RAM 0x02 /* otherwise from RAM */
#define EDU_DMA_INTERRUPT 0x04
#define EDU_IRQ_DMA_DONE 0x100
#define EDU_BUFFER 0x40000 /* the buffer, in the device's own address space */
#define EDU_BUFFER_SIZE 4096u

struct edu_dma {
  uint64_t source;
  uint64_t destination;
  uint64_t count;
  uint64_t command;
};

/* ---- what we know of one device ---------------------------------------------------------------------- */

struct device {
  const char* bdf;
  char node[300]; /* /dev/vfio/devices/... */
  bool noiommu;
  int fd;
  uint32_t ioas_id;
  uint64_t config; /* offset of config space in fd */
  uint64_t bar0;   /* offset of BAR 0 in fd */
  uint64_t bar0_size;
  volatile uint8_t* bar0_map; /* NULL: BAR 0 is reached by pread and pwrite */
  int interrupt;              /* eventfd, one count per interrupt */
  uint64_t dma_mask;          /* highest address that the device can put on the bus */
};

/* A piece of memory that the device can reach with consecutive addresses. */
struct run {
  uint64_t address;
  uint64_t length;
};

/* A buffer of ours that devices reach. */
struct window {
  uint8_t* data;
  uint64_t size;
  uint64_t iova;
  uint32_t access; /* IOMMU_IOAS_MAP_READABLE or _WRITEABLE */
  struct run* runs;
  size_t num_runs;
  size_t room_for_runs;
};

struct totals {
  uint64_t bytes, interrupts, runs, shortest_run, longest_run;
  double seconds;
};

static struct {
  const char* file;
  unsigned dma_bits;
  uint64_t window_size; /* 0: what RLIMIT_MEMLOCK allows */
  uint64_t chunk_size;  /* of one DMA command */
} options = {.dma_bits = 28, .chunk_size = EDU_BUFFER_SIZE};

/* ---- messages ---------------------------------------------------------------------------------------- */

static bool progress_shown;

__attribute__((noreturn, format(printf, 2, 3))) static void fail(const struct device* dev, const char* format, ...) {
  va_list args;

  fflush(stdout);
  fprintf(stderr, progress_shown ? "\r\033[Kdma_copy: " : "dma_copy: ");
  if (dev) fprintf(stderr, "%s: ", dev->bdf);
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fputc('\n', stderr);
  exit(EXIT_ERROR);
}

static void show_progress(const struct device* dev, uint64_t done, uint64_t total) {
  static const char bar[] = "########################################";
  int width = (int)sizeof(bar) - 1, filled = total ? (int)(done * (unsigned)width / total) : width;

  if (!isatty(STDERR_FILENO)) return;
  progress_shown = done < total;
  if (done < total)
    fprintf(stderr, "\r%s [%.*s%*s] %3d%%", dev->bdf, filled, bar, width - filled, "", (int)(done * 100 / total));
  else
    fprintf(stderr, "\r\033[K");
}

/* ---- finding and opening the device ------------------------------------------------------------------ */

static unsigned read_sysfs_hex(const struct device* dev, const char* attribute) {
  char path[PATH_MAX];
  unsigned value;
  FILE* f;

  snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", dev->bdf, attribute);
  f = fopen(path, "re");
  if (!f) fail(dev, "cannot open %s: %s. Is this the address of a PCI device of this machine?", path, strerror(errno));
  if (fscanf(f, "%x", &value) != 1) fail(dev, "%s does not hold a number", path);
  fclose(f);
  return value;
}

/* The character device is the one entry of vfio-dev/ whose name says vfio. A device without IOMMU is
 * "noiommu-vfioN". */
static void find_node(struct device* dev) {
  char path[PATH_MAX];
  struct dirent* entry;
  DIR* dir;

  snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", dev->bdf);
  dir = opendir(path);
  if (!dir)
    fail(dev,
         "cannot open %s: %s. Bind the device to vfio-pci; if no IOMMU manages it, set the parameter "
         "enable_unsafe_noiommu_mode of module vfio before that.",
         path, strerror(errno));
  while ((entry = readdir(dir))) {
    dev->noiommu = strncmp(entry->d_name, "noiommu-vfio", 12) == 0;
    if (!dev->noiommu && strncmp(entry->d_name, "vfio", 4) != 0) continue;
    snprintf(dev->node, sizeof(dev->node), "/dev/vfio/devices/%s", entry->d_name);
    break;
  }
  closedir(dir);
  if (!entry) fail(dev, "%s has no VFIO device", path);
}

static void open_and_bind(struct device* dev, int iommufd) {
  struct vfio_device_bind_iommufd bind = {.argsz = sizeof(bind), .iommufd = iommufd};
  struct iommu_ioas_alloc alloc = {.size = sizeof(alloc)};
  struct vfio_device_attach_iommufd_pt attach = {.argsz = sizeof(attach)};

  dev->fd = open(dev->node, O_RDWR | O_CLOEXEC);
  if (dev->fd < 0)
    fail(dev, "cannot open %s: %s%s", dev->node, strerror(errno),
         dev->noiommu && errno == EPERM ? ". A device without IOMMU needs CAP_SYS_RAWIO." : "");
  if (ioctl(dev->fd, VFIO_DEVICE_BIND_IOMMUFD, &bind))
    fail(dev, "VFIO_DEVICE_BIND_IOMMUFD: %s%s", strerror(errno),
         errno == EINVAL ? ". Does another program use the device?" : "");
  if (ioctl(iommufd, IOMMU_IOAS_ALLOC, &alloc)) fail(dev, "IOMMU_IOAS_ALLOC: %s", strerror(errno));
  dev->ioas_id = alloc.out_ioas_id;
  attach.pt_id = dev->ioas_id;
  if (ioctl(dev->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach))
    fail(dev, "VFIO_DEVICE_ATTACH_IOMMUFD_PT: %s", strerror(errno));
}

/*
 * Keep the addresses that the kernel will choose below the device's mask: of the ranges that the IOAS offers,
 * allow the part that the device can reach. (Without an IOMMU the IOVA is only a name for the memory, and
 * this does no harm.)
 */
static void allow_reachable_iovas(const struct device* dev, int iommufd) {
  struct iommu_ioas_iova_ranges query = {.size = sizeof(query), .ioas_id = dev->ioas_id};
  struct iommu_ioas_allow_iovas allow = {.size = sizeof(allow), .ioas_id = dev->ioas_id};
  struct iommu_iova_range* ranges;

  if (ioctl(iommufd, IOMMU_IOAS_IOVA_RANGES, &query) && errno != EMSGSIZE)
    fail(dev, "IOMMU_IOAS_IOVA_RANGES: %s", strerror(errno));
  ranges = calloc(query.num_iovas ? query.num_iovas : 1, sizeof(*ranges));
  if (!ranges) fail(dev, "out of memory");
  query.allowed_iovas = (uintptr_t)ranges;
  if (ioctl(iommufd, IOMMU_IOAS_IOVA_RANGES, &query)) fail(dev, "IOMMU_IOAS_IOVA_RANGES: %s", strerror(errno));
  for (uint32_t i = 0; i < query.num_iovas && ranges[i].start < dev->dma_mask; i++) {
    if (ranges[i].last > dev->dma_mask) ranges[i].last = dev->dma_mask;
    allow.num_iovas++;
  }
  allow.allowed_iovas = (uintptr_t)ranges;
  if (ioctl(iommufd, IOMMU_IOAS_ALLOW_IOVAS, &allow)) fail(dev, "IOMMU_IOAS_ALLOW_IOVAS: %s", strerror(errno));
  free(ranges);
}

/* ---- registers, config space, interrupt -------------------------------------------------------------- */

static struct vfio_region_info region_info(const struct device* dev, uint32_t index) {
  struct vfio_region_info info = {.argsz = sizeof(info), .index = index};

  if (ioctl(dev->fd, VFIO_DEVICE_GET_REGION_INFO, &info))
    fail(dev, "VFIO_DEVICE_GET_REGION_INFO of region %u: %s", index, strerror(errno));
  return info;
}

/* Accesses of 4 bytes, and runs of 8-byte registers in rising order, as the edu device takes them. */
static void bar0_write(const struct device* dev, uint64_t offset, const void* data, size_t length) {
  if (!dev->bar0_map) {
    if (pwrite(dev->fd, data, length, (off_t)(dev->bar0 + offset)) != (ssize_t)length)
      fail(dev, "writing %zu bytes at %#jx of BAR 0: %s", length, (uintmax_t)offset, strerror(errno));
  } else if (length == 4) {
    *(volatile uint32_t*)(dev->bar0_map + offset) = *(const uint32_t*)data;
  } else {
    for (size_t i = 0; i < length / 8; i++)
      ((volatile uint64_t*)(dev->bar0_map + offset))[i] = ((const uint64_t*)data)[i];
  }
}

static uint32_t bar0_read4(const struct device* dev, uint64_t offset) {
  uint32_t value;

  if (dev->bar0_map) return *(volatile uint32_t*)(dev->bar0_map + offset);
  if (pread(dev->fd, &value, sizeof(value), (off_t)(dev->bar0 + offset)) != sizeof(value))
    fail(dev, "reading BAR 0 at %#jx: %s", (uintmax_t)offset, strerror(errno));
  return value;
}

static void find_regions(struct device* dev) {
  struct vfio_device_info info = {.argsz = sizeof(info)};
  struct vfio_region_info bar0;

  if (ioctl(dev->fd, VFIO_DEVICE_GET_INFO, &info)) fail(dev, "VFIO_DEVICE_GET_INFO: %s", strerror(errno));
  if (!(info.flags & VFIO_DEVICE_FLAGS_PCI) || info.num_regions <= VFIO_PCI_CONFIG_REGION_INDEX ||
      info.num_irqs <= VFIO_PCI_MSI_IRQ_INDEX)
    fail(dev, "this is not a VFIO PCI device");
  dev->config = region_info(dev, VFIO_PCI_CONFIG_REGION_INDEX).offset;
  bar0 = region_info(dev, VFIO_PCI_BAR0_REGION_INDEX);
  dev->bar0 = bar0.offset;
  dev->bar0_size = bar0.size;
  if (bar0.flags & VFIO_REGION_INFO_FLAG_MMAP) {
    void* map = mmap(NULL, bar0.size, PROT_READ | PROT_WRITE, MAP_SHARED, dev->fd, (off_t)bar0.offset);

    if (map == MAP_FAILED) fail(dev, "mapping BAR 0: %s", strerror(errno));
    dev->bar0_map = map;
  }
}

/* VFIO opens a device with bus mastering off. Without it the device's DMA goes nowhere. */
static void enable_memory_and_bus_master(const struct device* dev) {
  off_t at = (off_t)(dev->config + PCI_COMMAND);
  uint16_t command;

  if (pread(dev->fd, &command, sizeof(command), at) != sizeof(command))
    fail(dev, "reading the PCI command register: %s", strerror(errno));
  command |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
  if (pwrite(dev->fd, &command, sizeof(command), at) != sizeof(command))
    fail(dev, "writing the PCI command register: %s", strerror(errno));
}

static void set_up_interrupt(struct device* dev) {
  struct vfio_irq_info info = {.argsz = sizeof(info), .index = VFIO_PCI_MSI_IRQ_INDEX};
  _Alignas(struct vfio_irq_set) char buffer[sizeof(struct vfio_irq_set) + sizeof(int32_t)] = {0};
  struct vfio_irq_set* set = (struct vfio_irq_set*)buffer;

  if (ioctl(dev->fd, VFIO_DEVICE_GET_IRQ_INFO, &info)) fail(dev, "VFIO_DEVICE_GET_IRQ_INFO: %s", strerror(errno));
  if (info.count < 1 || !(info.flags & VFIO_IRQ_INFO_EVENTFD)) fail(dev, "the device offers no MSI");
  dev->interrupt = eventfd(0, EFD_CLOEXEC);
  if (dev->interrupt < 0) fail(dev, "eventfd: %s", strerror(errno));
  set->argsz = sizeof(buffer);
  set->flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
  set->index = VFIO_PCI_MSI_IRQ_INDEX;
  set->count = 1;
  memcpy(set->data, &dev->interrupt, sizeof(int32_t));
  if (ioctl(dev->fd, VFIO_DEVICE_SET_IRQS, set)) fail(dev, "VFIO_DEVICE_SET_IRQS: %s", strerror(errno));
}

/* Sleeps until the device has interrupted us. Returns how often it did. */
static uint64_t wait_for_interrupt(const struct device* dev) {
  struct pollfd p = {.fd = dev->interrupt, .events = POLLIN};
  uint64_t count;
  int ready;

  do ready = poll(&p, 1, 10000);
  while (ready < 0 && errno == EINTR);
  if (ready == 0) fail(dev, "no interrupt within 10 s after a DMA command");
  if (ready < 0 || read(dev->interrupt, &count, sizeof(count)) != sizeof(count))
    fail(dev, "waiting for an interrupt: %s", strerror(errno));
  return count;
}

/* ---- memory that the device reaches ------------------------------------------------------------------ */

static void add_run(const struct device* dev, struct window* w, uint64_t address, uint64_t length) {
  if (address > dev->dma_mask || length - 1 > dev->dma_mask - address)
    fail(dev, "the device cannot reach %#jx..%#jx: it has %u address bits. %s", (uintmax_t)address,
         (uintmax_t)(address + length - 1), options.dma_bits,
         dev->noiommu ? "Without an IOMMU only memory below its mask can be used." : "");
  if (w->num_runs == w->room_for_runs) {
    w->room_for_runs = w->room_for_runs ? 2 * w->room_for_runs : 64;
    w->runs = realloc(w->runs, w->room_for_runs * sizeof(*w->runs));
    if (!w->runs) fail(dev, "out of memory");
  }
  w->runs[w->num_runs++] = (struct run){address, length};
}

/* The addresses under which the device sees a mapped window. This is all that differs between the kinds of
 * device. */
static void dma_runs(const struct device* dev, int iommufd, struct window* w) {
  uint64_t done = 0;

  w->num_runs = 0;
  if (!dev->noiommu) {
    add_run(dev, w, w->iova, w->size);
    return;
  }
  while (done < w->size) {
    struct iommu_ioas_noiommu_get_pa get = {
        .size = sizeof(get),
        .ioas_id = dev->ioas_id,
        .iova = w->iova + done,
        .length = w->size - done,
    };

    if (ioctl(iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &get)) fail(dev, "IOMMU_IOAS_NOIOMMU_GET_PA: %s", strerror(errno));
    add_run(dev, w, get.out_phys, get.length);
    done += get.length;
  }
}

static void map_window(const struct device* dev, int iommufd, struct window* w, uint64_t size) {
  struct iommu_ioas_map map = {
      .size = sizeof(map),
      .flags = w->access,
      .ioas_id = dev->ioas_id,
      .user_va = (uintptr_t)w->data,
      .length = size,
  };

  if (ioctl(iommufd, IOMMU_IOAS_MAP, &map))
    fail(dev, "IOMMU_IOAS_MAP of %ju KiB: %s%s", (uintmax_t)size / 1024, strerror(errno),
         errno == ENOMEM ? ". Raise the limit of locked memory (ulimit -l) or use --window." : "");
  w->iova = map.iova;
  w->size = size;
  dma_runs(dev, iommufd, w);
}

static void unmap_window(const struct device* dev, int iommufd, const struct window* w) {
  struct iommu_ioas_unmap unmap = {
      .size = sizeof(unmap),
      .ioas_id = dev->ioas_id,
      .iova = w->iova,
      .length = w->size,
  };

  if (ioctl(iommufd, IOMMU_IOAS_UNMAP, &unmap)) fail(dev, "IOMMU_IOAS_UNMAP: %s", strerror(errno));
}

static void allocate_window(struct window* w, uint64_t size, uint32_t access) {
  memset(w, 0, sizeof(*w));
  w->access = access;
  w->data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (w->data == MAP_FAILED) fail(NULL, "no memory for a buffer of %ju bytes: %s", (uintmax_t)size, strerror(errno));
}

static void free_window(struct window* w, uint64_t size) {
  munmap(w->data, size);
  free(w->runs);
}

/* Two windows take half of what we may lock: the other half is left to others of this user. */
static uint64_t choose_window_size(void) {
  uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), size = 4 << 20;
  struct rlimit limit;

  if (options.window_size)
    size = options.window_size;
  else if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur / 4 < size)
    size = limit.rlim_cur / 4;
  size -= size % page;
  return size ? size : page;
}

/* ---- the copy ---------------------------------------------------------------------------------------- */

static uint64_t edu_transfer(const struct device* dev, uint64_t source, uint64_t destination, uint64_t count,
                             uint64_t direction) {
  const struct edu_dma dma = {source, destination, count, EDU_DMA_START | EDU_DMA_INTERRUPT | direction};
  const uint32_t done = EDU_IRQ_DMA_DONE;
  uint64_t interrupts;

  bar0_write(dev, EDU_DMA, &dma, sizeof(dma));
  interrupts = wait_for_interrupt(dev);
  bar0_write(dev, EDU_IRQ_ACK, &done, sizeof(done));
  return interrupts;
}

struct cursor {
  const struct run* run;
  uint64_t offset; /* in the run */
};

static uint64_t left_in_run(const struct cursor* c) { return c->run->length - c->offset; }

static void advance(struct cursor* c, uint64_t n) {
  c->offset += n;
  if (c->offset == c->run->length) {
    c->run++;
    c->offset = 0;
  }
}

/* A chunk ends where the device's buffer or a run of either window ends. */
static void copy_window(const struct device* dev, const struct window* from, const struct window* to,
                        struct totals* t) {
  struct cursor in = {from->runs, 0}, out = {to->runs, 0};
  uint64_t done = 0, n;

  for (; done < from->size; done += n) {
    n = from->size - done;
    if (n > options.chunk_size) n = options.chunk_size;
    if (n > left_in_run(&in)) n = left_in_run(&in);
    if (n > left_in_run(&out)) n = left_in_run(&out);
    t->interrupts += edu_transfer(dev, in.run->address + in.offset, EDU_BUFFER, n, 0);
    t->interrupts += edu_transfer(dev, EDU_BUFFER, out.run->address + out.offset, n, EDU_DMA_TO_RAM);
    advance(&in, n);
    advance(&out, n);
  }
}

static void count_runs(const struct window* w, struct totals* t) {
  for (size_t i = 0; i < w->num_runs; i++) {
    uint64_t length = w->runs[i].length;

    if (t->runs == 0 || length < t->shortest_run) t->shortest_run = length;
    if (length > t->longest_run) t->longest_run = length;
    t->runs++;
  }
}

static double now(void) {
  struct timespec ts;

  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Fills `w` from the file. A short last window is padded with zeros to whole pages, which are copied but not
 * counted. */
static uint64_t read_file(int fd, uint64_t at, uint8_t* data, uint64_t want) {
  uint64_t have = 0;

  while (have < want) {
    ssize_t n = pread(fd, data + have, want - have, (off_t)(at + have));

    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(NULL, "reading %s: %s", options.file, strerror(errno));
    if (n == 0) fail(NULL, "%s became shorter while it was copied", options.file);
    have += (uint64_t)n;
  }
  return have;
}

/* Copies the whole file through the device, window by window. Returns true when source and copy are the same.
 */
static bool copy_file(const struct device* dev, int iommufd, int file, uint64_t file_size, struct totals* t) {
  uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), window_size = choose_window_size(), length;
  struct sha256 before, after;
  uint8_t source_digest[32], copy_digest[32];
  struct window from, to;

  allocate_window(&from, window_size, IOMMU_IOAS_MAP_READABLE);
  allocate_window(&to, window_size, IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE);
  sha256_init(&before);
  sha256_init(&after);
  for (uint64_t at = 0; at < file_size; at += length) {
    uint64_t mapped;
    double start;

    show_progress(dev, at, file_size);
    length = file_size - at < window_size ? file_size - at : window_size;
    mapped = (length + page - 1) / page * page;
    read_file(file, at, from.data, length);
    memset(from.data + length, 0, mapped - length);
    memset(to.data, 0x55, mapped); /* what a lost transfer would leave */
    sha256_update(&before, from.data, length);

    start = now();
    map_window(dev, iommufd, &from, mapped);
    map_window(dev, iommufd, &to, mapped);
    copy_window(dev, &from, &to, t);
    count_runs(&from, t);
    count_runs(&to, t);
    unmap_window(dev, iommufd, &from);
    unmap_window(dev, iommufd, &to);
    t->seconds += now() - start;

    sha256_update(&after, to.data, length);
    t->bytes += length;
  }
  show_progress(dev, file_size, file_size);
  sha256_final(&before, source_digest);
  sha256_final(&after, copy_digest);
  free_window(&from, window_size);
  free_window(&to, window_size);
  return memcmp(source_digest, copy_digest, sizeof(source_digest)) == 0;
}

static void print_size(char* text, size_t room, uint64_t bytes) {
  if (bytes % 1024 == 0)
    snprintf(text, room, "%ju KiB", (uintmax_t)bytes / 1024);
  else
    snprintf(text, room, "%ju bytes", (uintmax_t)bytes);
}

static bool run_device(const char* bdf, int iommufd, int file, uint64_t file_size) {
  struct device dev = {.bdf = bdf, .fd = -1, .interrupt = -1};
  struct totals t = {0};
  char shortest[32], longest[32];
  unsigned vendor, device;
  bool identical;

  dev.dma_mask = options.dma_bits == 64 ? UINT64_MAX : (UINT64_C(1) << options.dma_bits) - 1;
  vendor = read_sysfs_hex(&dev, "vendor");
  device = read_sysfs_hex(&dev, "device");
  if (vendor != EDU_VENDOR || device != EDU_DEVICE)
    fail(&dev, "this is %04x:%04x; dma_copy drives the edu device %04x:%04x", vendor, device, EDU_VENDOR, EDU_DEVICE);
  find_node(&dev);
  open_and_bind(&dev, iommufd);
  allow_reachable_iovas(&dev, iommufd);
  find_regions(&dev);
  enable_memory_and_bus_master(&dev);
  set_up_interrupt(&dev);
  if ((bar0_read4(&dev, EDU_ID) & 0xff) != 0xed)
    fail(&dev, "the identification register reads %#x, not an edu device", bar0_read4(&dev, EDU_ID));

  identical = copy_file(&dev, iommufd, file, file_size, &t);
  print_size(shortest, sizeof(shortest), t.shortest_run);
  print_size(longest, sizeof(longest), t.longest_run);
  printf("%s\n", bdf);
  printf("  kind         %s\n",
         dev.noiommu ? "noiommu: the device uses physical addresses" : "IOMMU: the device uses IOVAs");
  printf("  node         %s\n", dev.node);
  printf("  BAR 0        %s\n", dev.bar0_map ? "mapped" : "pread and pwrite");
  printf("  DMA runs     %ju, shortest %s, longest %s\n", (uintmax_t)t.runs, shortest, longest);
  printf("  interrupts   %ju\n", (uintmax_t)t.interrupts);
  printf("  bytes        %ju\n", (uintmax_t)t.bytes);
  printf("  rate         %.1f MiB/s\n", t.seconds > 0 ? (double)t.bytes / t.seconds / (1 << 20) : 0.0);
  printf("  verdict: %s\n", identical ? "identical" : "DIFFERENT");
  fflush(stdout);

  if (dev.bar0_map) munmap((void*)(uintptr_t)dev.bar0_map, dev.bar0_size);
  close(dev.fd); /* detaches and unbinds */
  close(dev.interrupt);
  return identical;
}

/* ---- which file -------------------------------------------------------------------------------------- */

#define DEFAULT_FILE_SIZE (16 << 20)

static char found_file[PATH_MAX];

static int take_large_file(const char* path, const struct stat* st, int type, struct FTW* walk) {
  (void)walk;
  if (type != FTW_F || !S_ISREG(st->st_mode) || st->st_size < DEFAULT_FILE_SIZE || access(path, R_OK) != 0 ||
      strlen(path) >= sizeof(found_file))
    return 0;
  strcpy(found_file, path);
  return 1;
}

/* A file of 16 MiB or more that this machine has: first the usual ones of a machine that compiles, then any.
 */
static const char* find_default_file(void) {
  static const char* const patterns[] = {
      "/usr/lib/gcc/*/*/cc1plus", "/usr/libexec/gcc/*/*/cc1plus", "/usr/lib/*/libLLVM*.so*",
      "/usr/lib/gcc/*/*/cc1",     "/usr/lib/*/libicudata.so.*",   "/boot/vmlinuz*",
  };
  static const char* const trees[] = {"/usr/lib", "/usr/bin", "/usr/libexec", "/usr/share", "/usr", "/opt", "/var"};
  struct stat st;

  for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
    glob_t g;

    if (glob(patterns[i], 0, NULL, &g) != 0) continue;
    for (size_t j = 0; j < g.gl_pathc && !found_file[0]; j++)
      if (stat(g.gl_pathv[j], &st) == 0) take_large_file(g.gl_pathv[j], &st, FTW_F, NULL);
    globfree(&g);
    if (found_file[0]) return found_file;
  }
  for (size_t i = 0; i < sizeof(trees) / sizeof(trees[0]); i++)
    if (nftw(trees[i], take_large_file, 16, FTW_PHYS | FTW_MOUNT) == 1) return found_file;
  fail(NULL, "found no file of 16 MiB or more to copy; name one with -f FILE");
}

/* ---- main -------------------------------------------------------------------------------------------- */

static void usage(FILE* out) {
  fprintf(out,
          "usage: dma_copy [options] BDF...\n"
          "Copies a file through each edu device (1234:11e8) by DMA and compares the result.\n"
          "  -f, --file FILE     what to copy (default: some file of 16 MiB or more)\n"
          "  -b, --dma-bits N    address bits of the device (default 28)\n"
          "  -w, --window BYTES  size of each of the two buffers (default: a quarter of RLIMIT_MEMLOCK,\n"
          "                      at most 4 MiB)\n"
          "  -c, --chunk BYTES   longest transfer (default 4096, the device's buffer; the edu of QEMU 7.2 needs\n"
          "                      less than that)\n"
          "  -h, --help\n"
          "BDF is an address below /sys/bus/pci/devices, like 0000:00:03.0.\n"
          "exit: 0 all copies are identical, 1 one is different, 2 something failed\n");
}

static uint64_t parse_number(const char* what, const char* text, uint64_t low, uint64_t high) {
  char* end;
  unsigned long long value;

  errno = 0;
  value = strtoull(text, &end, 0);
  if (errno || end == text || *end || *text == '-' || value < low || value > high)
    fail(NULL, "%s must be a number from %ju to %ju, not '%s'", what, (uintmax_t)low, (uintmax_t)high, text);
  return value;
}

int main(int argc, char** argv) {
  static const struct option longs[] = {
      {"file", required_argument, NULL, 'f'},   {"dma-bits", required_argument, NULL, 'b'},
      {"window", required_argument, NULL, 'w'}, {"chunk", required_argument, NULL, 'c'},
      {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
  };
  int c, iommufd, file, different = 0;
  struct stat st;

  while ((c = getopt_long(argc, argv, "f:b:w:c:h", longs, NULL)) != -1) {
    switch (c) {
      case 'f': options.file = optarg; break;
      case 'b': options.dma_bits = (unsigned)parse_number("--dma-bits", optarg, 13, 64); break;
      case 'w': options.window_size = parse_number("--window", optarg, 4096, UINT64_C(1) << 30); break;
      case 'c': options.chunk_size = parse_number("--chunk", optarg, 1, EDU_BUFFER_SIZE); break;
      case 'h': usage(stdout); return 0;
      default: usage(stderr); return EXIT_ERROR;
    }
  }
  if (optind == argc) {
    usage(stderr);
    return EXIT_ERROR;
  }

  if (!options.file) options.file = find_default_file();
  file = open(options.file, O_RDONLY | O_CLOEXEC);
  if (file < 0 || fstat(file, &st)) fail(NULL, "cannot open %s: %s", options.file, strerror(errno));
  if (!S_ISREG(st.st_mode) || st.st_size == 0) fail(NULL, "%s is not a regular file with content", options.file);

  iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
  if (iommufd < 0)
    fail(NULL, "cannot open /dev/iommu: %s%s", strerror(errno),
         errno == ENOENT ? ". The kernel needs CONFIG_IOMMUFD (Linux 6.2 or later)." : "");
  printf("%s, %ju bytes\n", options.file, (uintmax_t)st.st_size);
  for (int i = optind; i < argc; i++)
    if (!run_device(argv[i], iommufd, file, (uint64_t)st.st_size)) different = 1;
  close(iommufd);
  return different ? EXIT_DIFFERENT : 0;
}

// SPDX-License-Identifier: BSD-3-Clause
// map_memory BDF KIND [FILE|BDF]: one page of memory of a kind is mapped for a function without an IOMMU. Prints "mapped", or the name of
// the errno. Kinds:
//   plain  read-only  zero (a private mapping of /dev/zero)  shared (FILE)  private (FILE)  bar (of a function: BDF)  nothing
//   buffer (BAR 0 of a function as a dma-buf: BDF; with the physical address)
//   kept-file (a memfd by IOMMU_IOAS_MAP_FILE; bus mastering goes on, and the program does not end)
//   traced (plain, in a process that another one traces; then a memfd by IOMMU_IOAS_MAP_FILE)
//   file (IOMMU_IOAS_MAP_FILE of FILE)  sealed-file  reader-file (a memfd that is open for reading alone)  short-file
// Exit: 0 whatever the answer was; 2 what fails before.
#define _GNU_SOURCE

#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/pci_regs.h>

#include "device.h"

enum { kPage = 4096, kBoth = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE };

static void* map(int fd, int prot, int flags, off_t offset) {
  void* memory = mmap(NULL, kPage, prot, flags, fd, offset);

  if (memory == MAP_FAILED) fail("mmap");
  return memory;
}

static int open_file(const char* path) {
  const int fd = open(path, O_RDWR);

  if (fd < 0) fail(path);
  return fd;
}

static int memfd(off_t size, int seals) {
  const int fd = memfd_create("map_memory", MFD_ALLOW_SEALING);

  if (fd < 0 || ftruncate(fd, size) || fcntl(fd, F_ADD_SEALS, seals)) fail("memfd");
  return fd;
}

static int reader(int writable) {
  char path[64];

  snprintf(path, sizeof(path), "/proc/self/fd/%d", writable);
  const int fd = open(path, O_RDONLY);
  if (fd < 0) fail(path);
  return fd;
}

static int bind_device(const struct attached* attached, const char* bdf, const char* own) {
  const int device = strcmp(bdf, own) ? open_device(bdf) : attached->device;
  struct vfio_device_bind_iommufd bind = {.argsz = sizeof(bind), .iommufd = attached->iommufd};

  if (device != attached->device && ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &bind)) fail("VFIO_DEVICE_BIND_IOMMUFD");
  return device;
}

static void* map_bar(int device) {
  struct vfio_region_info info = {.argsz = sizeof(info), .index = VFIO_PCI_BAR0_REGION_INDEX};

  if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info)) fail("VFIO_DEVICE_GET_REGION_INFO");
  return map(device, PROT_READ | PROT_WRITE, MAP_SHARED, (off_t)info.offset);
}

static const char* map_memory(const struct attached* a, const void* memory, unsigned flags) {
  struct iommu_ioas_map map = {
      .size = sizeof(map), .flags = flags, .ioas_id = a->ioas, .user_va = (uintptr_t)memory, .length = kPage};

  return ioctl(a->iommufd, IOMMU_IOAS_MAP, &map) ? strerrorname_np(errno) : "mapped";
}

static int bar_buffer(int device) {
  _Alignas(8) char bytes[sizeof(struct vfio_device_feature) + sizeof(struct vfio_device_feature_dma_buf) +
                         sizeof(struct vfio_region_dma_range)] = {0};
  struct vfio_device_feature* get = (struct vfio_device_feature*)bytes;
  struct vfio_device_feature_dma_buf* buffer = (struct vfio_device_feature_dma_buf*)get->data;

  get->argsz = sizeof(bytes);
  get->flags = VFIO_DEVICE_FEATURE_DMA_BUF | VFIO_DEVICE_FEATURE_GET;
  buffer->open_flags = O_RDWR | O_CLOEXEC;
  buffer->nr_ranges = 1;
  buffer->dma_ranges[0].length = kPage;
  return ioctl(device, VFIO_DEVICE_FEATURE, get);
}

static void master_bus(int device) {
  struct vfio_region_info config = {.argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX};
  const uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;

  if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &config)) fail("VFIO_DEVICE_GET_REGION_INFO");
  if (pwrite(device, &command, sizeof(command), (off_t)config.offset + PCI_COMMAND) != sizeof(command))
    fail("PCI_COMMAND");
}

static const char* map_buffer(const struct attached* a, int buffer) {
  static char text[64];
  struct iommu_ioas_map_file map = {
      .size = sizeof(map), .flags = kBoth, .ioas_id = a->ioas, .fd = buffer, .length = kPage};

  if (buffer < 0 || ioctl(a->iommufd, IOMMU_IOAS_MAP_FILE, &map)) return strerrorname_np(errno);
  snprintf(text, sizeof(text), "mapped at 0x%016llx", (unsigned long long)physical_address(a, map.iova));
  return text;
}

static const char* map_file(const struct attached* a, int fd) {
  struct iommu_ioas_map_file map = {.size = sizeof(map), .flags = kBoth, .ioas_id = a->ioas, .fd = fd, .length = kPage};

  return ioctl(a->iommufd, IOMMU_IOAS_MAP_FILE, &map) ? strerrorname_np(errno) : "mapped";
}

static int map_traced(const struct attached* a) {
  int go[2];
  char byte = 0;

  if (pipe(go)) fail("pipe");
  const pid_t child = fork();
  if (child == 0) {
    if (read(go[0], &byte, 1) != 1) fail("read");
    puts(map_memory(a, map(-1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, 0), kBoth));
    puts(map_file(a, memfd(kPage, 0)));
    exit(0);
  }
  if (ptrace(PTRACE_SEIZE, child, NULL, NULL)) fail("PTRACE_SEIZE");
  if (write(go[1], &byte, 1) != 1 || waitpid(child, NULL, 0) != child) fail("the traced process");
  return 0;
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const struct attached a = attach_device(argv[1]);
  const char *kind = argv[2], *name = argc > 3 ? argv[3] : "", *answer = "unknown kind";
  const int both = PROT_READ | PROT_WRITE, anonymous = MAP_PRIVATE | MAP_ANONYMOUS;

  if (!strcmp(kind, "traced")) return map_traced(&a);
  if (!strcmp(kind, "plain"))
    answer = map_memory(&a, map(-1, both, anonymous, 0), kBoth);
  else if (!strcmp(kind, "read-only"))
    answer = map_memory(&a, map(-1, PROT_READ, anonymous, 0), IOMMU_IOAS_MAP_READABLE);
  else if (!strcmp(kind, "zero"))
    answer = map_memory(&a, map(open_file("/dev/zero"), both, MAP_PRIVATE, 0), kBoth);
  else if (!strcmp(kind, "shared"))
    answer = map_memory(&a, map(open_file(name), both, MAP_SHARED, 0), kBoth);
  else if (!strcmp(kind, "private"))
    answer = map_memory(&a, map(open_file(name), both, MAP_PRIVATE, 0), kBoth);
  else if (!strcmp(kind, "bar"))
    answer = map_memory(&a, map_bar(bind_device(&a, name, argv[1])), kBoth);
  else if (!strcmp(kind, "buffer"))
    answer = map_buffer(&a, bar_buffer(bind_device(&a, name, argv[1])));
  else if (!strcmp(kind, "nothing"))
    answer = map_memory(&a, NULL, kBoth);
  else if (!strcmp(kind, "file"))
    answer = map_file(&a, open_file(name));
  else if (!strcmp(kind, "sealed-file"))
    answer = map_file(&a, memfd(kPage, F_SEAL_FUTURE_WRITE));
  else if (!strcmp(kind, "reader-file"))
    answer = map_file(&a, reader(memfd(kPage, 0)));
  else if (!strcmp(kind, "short-file"))
    answer = map_file(&a, memfd(kPage / 2, 0));
  else if (!strcmp(kind, "kept-file"))
    answer = map_file(&a, memfd(kPage, 0));
  puts(answer);
  if (!strcmp(kind, "kept-file")) {
    master_bus(a.device);
    pause();
  }
  return 0;
}

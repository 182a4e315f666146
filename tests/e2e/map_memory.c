// SPDX-License-Identifier: BSD-3-Clause
// map_memory BDF KIND [FILE|BDF]: one page of memory of a kind is mapped for a function without an IOMMU. Prints "mapped", or the name of
// the errno. Kinds:
//   plain  read-only  zero (a private mapping of /dev/zero)  shared (FILE)  private (FILE)  bar (of a function: BDF)  nothing
//   file (IOMMU_IOAS_MAP_FILE of FILE)  sealed-file  reader-file (a memfd that is open for reading alone)  short-file
// Exit: 0 whatever the answer was; 2 what fails before.
#define _GNU_SOURCE

#include <sys/mman.h>
#include <unistd.h>

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

static void* map_bar(const struct attached* attached, const char* bdf, const char* own) {
  const int device = strcmp(bdf, own) ? open_device(bdf) : attached->device;
  struct vfio_device_bind_iommufd bind = {.argsz = sizeof(bind), .iommufd = attached->iommufd};
  struct vfio_region_info info = {.argsz = sizeof(info), .index = VFIO_PCI_BAR0_REGION_INDEX};

  if (device != attached->device && ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &bind)) fail("VFIO_DEVICE_BIND_IOMMUFD");
  if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info)) fail("VFIO_DEVICE_GET_REGION_INFO");
  return map(device, PROT_READ | PROT_WRITE, MAP_SHARED, (off_t)info.offset);
}

static const char* map_memory(const struct attached* a, const void* memory, unsigned flags) {
  struct iommu_ioas_map map = {
      .size = sizeof(map), .flags = flags, .ioas_id = a->ioas, .user_va = (uintptr_t)memory, .length = kPage};

  return ioctl(a->iommufd, IOMMU_IOAS_MAP, &map) ? strerrorname_np(errno) : "mapped";
}

static const char* map_file(const struct attached* a, int fd) {
  struct iommu_ioas_map_file map = {
      .size = sizeof(map), .flags = kBoth, .ioas_id = a->ioas, .fd = fd, .length = kPage};

  return ioctl(a->iommufd, IOMMU_IOAS_MAP_FILE, &map) ? strerrorname_np(errno) : "mapped";
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const struct attached a = attach_device(argv[1]);
  const char *kind = argv[2], *name = argc > 3 ? argv[3] : "", *answer = "unknown kind";
  const int both = PROT_READ | PROT_WRITE, anonymous = MAP_PRIVATE | MAP_ANONYMOUS;

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
    answer = map_memory(&a, map_bar(&a, name, argv[1]), kBoth);
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
  puts(answer);
  return 0;
}

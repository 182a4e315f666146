// SPDX-License-Identifier: BSD-3-Clause
// map_file BDF FILE...: IOMMU_IOAS_MAP_FILE with an edu device that has no IOMMU. FILE is a path, `memfd` or `hugetlb`. For each:
// * GET_PA says of every page what it says of a mapping of the file by address;
// * what the device writes to the first page by its physical address is in the file, and what is in the file it reads from the last;
// * a page that is cut off the file stays the device's, with what it holds, and the file has another one when it grows again.
// Prints "FILE: as it should be". Exit: 1 when something is not, 2 what fails.
#define _GNU_SOURCE

#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/pci_regs.h>

#include "device.h"

enum { kPages = 4, kPage = 4096, kHuge = 2 << 20, kByFile = 0x1000000, kByAddress = 0x2000000, kAgain = 0x3000000 };
// QEMU's edu. Its buffer is as large as a page, but takes no transfer of all of it (QEMU 7.2).
enum { kDma = 0x80, kBuffer = 0x40000, kChunk = 2048, kStart = 1, kToMemory = 2 };

static struct attached attached;
static off_t bar0;

static off_t region(unsigned index) {
  struct vfio_region_info info = {.argsz = sizeof(info), .index = index};

  if (ioctl(attached.device, VFIO_DEVICE_GET_REGION_INFO, &info)) fail("VFIO_DEVICE_GET_REGION_INFO");
  return (off_t)info.offset;
}

static void start_device(void) {
  const off_t at = region(VFIO_PCI_CONFIG_REGION_INDEX) + PCI_COMMAND;
  uint16_t command;

  bar0 = region(VFIO_PCI_BAR0_REGION_INDEX);
  if (pread(attached.device, &command, sizeof(command), at) != sizeof(command)) fail("PCI_COMMAND");
  command |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
  if (pwrite(attached.device, &command, sizeof(command), at) != sizeof(command)) fail("PCI_COMMAND");
}

static void dma(uint64_t from, uint64_t to, uint64_t direction) {
  const uint64_t registers[4] = {from, to, kChunk, kStart | direction};
  uint64_t command;

  if (pwrite(attached.device, registers, sizeof(registers), bar0 + kDma) != sizeof(registers)) fail("BAR 0");
  do {
    usleep(1000);
    if (pread(attached.device, &command, sizeof(command), bar0 + kDma + 24) != sizeof(command)) fail("BAR 0");
  } while (command & kStart);
}

/* By the device: memory, its buffer, memory. */
static void copy_page(uint64_t from, uint64_t to) {
  for (unsigned done = 0; done < kPage; done += kChunk) {
    dma(from + done, kBuffer, 0);
    dma(kBuffer, to + done, kToMemory);
  }
}

static void map_file(int fd, uint64_t iova, uint64_t start, uint64_t length) {
  struct iommu_ioas_map_file map = {
      .size = sizeof(map),
      .flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE,
      .ioas_id = attached.ioas,
      .fd = fd,
      .start = start,
      .length = length,
      .iova = iova};

  if (ioctl(attached.iommufd, IOMMU_IOAS_MAP_FILE, &map)) fail("IOMMU_IOAS_MAP_FILE");
}

static void map_memory(const void* memory, uint64_t iova, uint64_t length) {
  struct iommu_ioas_map map = {.size = sizeof(map),
                               .flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE,
                               .ioas_id = attached.ioas,
                               .user_va = (uintptr_t)memory,
                               .length = length,
                               .iova = iova};

  if (ioctl(attached.iommufd, IOMMU_IOAS_MAP, &map)) fail("IOMMU_IOAS_MAP");
}

static void unmap_all(void) {
  struct iommu_ioas_unmap unmap = {.size = sizeof(unmap), .ioas_id = attached.ioas, .length = UINT64_MAX};

  if (ioctl(attached.iommufd, IOMMU_IOAS_UNMAP, &unmap)) fail("IOMMU_IOAS_UNMAP");
}

static bool is(const char* file, const char* what, bool right) {
  if (!right) printf("%s: %s: no\n", file, what);
  return right;
}

static bool holds(int fd, off_t at, char byte) {
  char page[kPage], want[kPage];

  memset(want, byte, sizeof(want));
  return pread(fd, page, sizeof(page), at) == sizeof(page) && !memcmp(page, want, sizeof(page));
}

static bool check(const char* name) {
  const bool huge = !strcmp(name, "hugetlb");
  const uint64_t size = huge ? 2 * kHuge : kPages * kPage, pages = size / kPage, last = size - kPage;
  const int fd = huge || !strcmp(name, "memfd") ? memfd_create(name, huge ? MFD_HUGETLB : 0)
                                                : open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
  bool right = true;

  if (fd < 0 || ftruncate(fd, (off_t)size)) fail(name);
  map_file(fd, kByFile, 0, size);
  char* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) fail("mmap");
  map_memory(memory, kByAddress, size);
  for (uint64_t i = 0; i < pages && right; i++)
    right = is(name, "GET_PA by file and by address agree",
               physical_address(&attached, kByFile + i * kPage) == physical_address(&attached, kByAddress + i * kPage));

  memset(memory + last, 'r', kPage);
  copy_page(physical_address(&attached, kByFile + last), physical_address(&attached, kByFile));
  right &= is(name, "the device read from the file, and wrote to it", holds(fd, 0, 'r'));

  munmap(memory, size);
  unmap_all();
  map_file(fd, kByFile, 0, size);
  const uint64_t address = physical_address(&attached, kByFile + last);
  if (ftruncate(fd, huge ? kHuge : kPage) || ftruncate(fd, (off_t)size)) fail("ftruncate");
  map_file(fd, kAgain, 0, size);
  right &= is(name, "what is cut off keeps its address", physical_address(&attached, kByFile + last) == address);
  right &= is(name, "a file that grew has another page", physical_address(&attached, kAgain + last) != address);
  right &= is(name, "which is empty", holds(fd, (off_t)last, 0));
  memset(memory = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), 'x', kPage);
  copy_page(address, physical_address(&attached, kByFile));
  right &= is(name, "what is cut off holds what it held", holds(fd, 0, 'r'));
  munmap(memory, kPage);
  unmap_all();
  close(fd);
  if (right) printf("%s: as it should be\n", name);
  return right;
}

int main(int argc, char** argv) {
  bool right = argc > 2;

  if (argc > 1) attached = attach_device(argv[1]);
  start_device();
  for (int i = 2; i < argc; i++) right &= check(argv[i]);
  return right ? 0 : 1;
}

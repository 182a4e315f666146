/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uPCIe (clients.md 1.3), and xNVMe over it (1.4): memory from memfd_create(MFD_HUGETLB), mapped by IOAS_MAP_FILE at an address
 * that the kernel chooses, or at its physical address in a type 1 container. Needs huge pages: --hugetlb=emulate.
 */
#include <sys/syscall.h>

#include "group_client.h"
#include "pagemap.h"

#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21u << 26)
#endif

SECTION("clients 1.3");

enum { HUGE = 2 << 20 };

/* A huge page of /proc/meminfo's size, locked. */
static uint8_t* huge_memory(int* file, size_t size) {
  *file = keep((int)syscall(SYS_memfd_create, "hostmem", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB));
  NEED(*file);
  NEED(ftruncate(*file, (off_t)size));
  uint8_t* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, *file, 0);
  REQUIRE(CHECK(memory != MAP_FAILED));
  CHECK_EQ((uintptr_t)memory % HUGE, 0);
  NEED(mlock(memory, size));
  return memory;
}

static unsigned long huge_page_size(void) {
  char line[256];
  unsigned long kib = 0;
  FILE* f = fopen("/proc/meminfo", "re");
  REQUIRE(CHECK(f != NULL));
  while (fgets(line, sizeof(line), f))
    if (sscanf(line, "Hugepagesize: %lu kB", &kib) == 1) break;
  fclose(f);
  return kib * 1024;
}

TEST(UPCIE1, "cdev: a huge memfd mapped by its descriptor, BAR 0 mapped whole") {
  char names[4][64];
  CHECK_EQ(huge_page_size(), HUGE);
  REQUIRE(CHECK_GE(entries_of(device_path("vfio-dev"), names, 4), 1));
  const int iommufd = keep(open("/dev/iommu", O_RDWR));
  NEED(iommufd);
  const uint32_t ioas = ioas_alloc(iommufd);
  struct vdev d = {.fd = keep(open(path("/dev/vfio/devices/%s", names[0]), O_RDWR))};
  NEED(d.fd);
  NEED(bind_to(&d, iommufd));
  NEED(attach_to(&d, ioas));
  int file;
  uint8_t* memory = huge_memory(&file, 2 * HUGE);
  struct iommu_ioas_map_file map = {
      .size = sizeof(map), .flags = RW, .ioas_id = ioas, .fd = file, .start = 0, .length = 2 * HUGE};
  NEED(ioctl(iommufd, IOMMU_IOAS_MAP_FILE, &map));
  const struct vfio_region_info bar = region_of(d.fd, 0);
  void* registers = map_bar(d.fd, &bar, PROT_READ | PROT_WRITE);
  enable_device(d.fd, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
  check_mapped_copy(registers, map.iova, map.iova + HUGE + PAGE, memory, memory + HUGE + PAGE, PAGE);
  munmap(registers, bar.size);
}

TEST(UPCIE2, "type 1: the IOVA of a huge page is its physical address") {
  const int container = keep(open("/dev/vfio/vfio", O_RDWR));
  NEED(container);
  const int group = keep(open(path("/dev/vfio/%u", group_number()), O_RDWR));
  NEED(group);
  CHECK(status_of(group) & VFIO_GROUP_FLAGS_VIABLE);
  NEED(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
  NEED(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU));
  const int device = keep(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf()));
  NEED(device);
  int file;
  uint8_t* memory = huge_memory(&file, 2 * HUGE);
  uint64_t at[2];
  for (size_t i = 0; i < 2; i++) {
    memory[i * HUGE] = 1;
    at[i] = physical(memory + i * HUGE);
    CHECK_EQ(at[i] % HUGE, 0); /* contiguous for the whole of a huge page */
    CHECK_EQ(physical(memory + i * HUGE + HUGE - PAGE), at[i] + HUGE - PAGE);
    NEED(container_map(container, memory + i * HUGE, at[i], HUGE));
  }
  const struct vfio_region_info bar = region_of(device, 0);
  void* registers = map_bar(device, &bar, PROT_READ | PROT_WRITE);
  enable_device(device, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
  check_mapped_copy(registers, at[0] + HUGE - PAGE, at[1], memory + HUGE - PAGE, memory + HUGE, PAGE);
  munmap(registers, bar.size);
}

TEST(UPCIE3, "a BAR exported as a dma-buf") {
  char names[4][64];
  REQUIRE(CHECK_GE(entries_of(device_path("vfio-dev"), names, 4), 1));
  const int iommufd = keep(open("/dev/iommu", O_RDWR));
  struct vdev d = {.fd = keep(open(path("/dev/vfio/devices/%s", names[0]), O_RDWR))};
  NEED(iommufd);
  NEED(d.fd);
  NEED(bind_to(&d, iommufd));
  NEED(attach_to(&d, ioas_alloc(iommufd)));
  enable_device(d.fd, PCI_COMMAND_MEMORY);
  struct { /* vfio_device_feature and vfio_device_feature_dma_buf with one range: page 0 of BAR 0 */
    uint32_t argsz, flags;
    uint32_t region_index, open_flags, dma_buf_flags, nr_ranges;
    uint64_t offset, length;
  } cmd = {.argsz = sizeof(cmd),
           .flags = VFIO_DEVICE_FEATURE_GET | 11,
           .open_flags = O_RDWR | O_CLOEXEC,
           .nr_ranges = 1,
           .length = PAGE};
  NEED(keep(ioctl(d.fd, VFIO_DEVICE_FEATURE, &cmd)));
}

SECTION("clients 1.4");

TEST(XNVME1, "which way: the driver link, access to /dev/iommu, a vfio-dev entry; two interrupts, one removed again") {
  char names[4][64];
  const char* driver = link_name(device_path("driver"));
  REQUIRE(CHECK(driver != NULL));
  CHECK(strcmp(driver, "vfio-pci") == 0);
  NEED(access("/dev/iommu", R_OK | W_OK));
  REQUIRE(CHECK_GE(entries_of(device_path("vfio-dev"), names, 4), 1));
  const int iommufd = keep(open("/dev/iommu", O_RDWR));
  struct vdev d = {.fd = keep(open(path("/dev/vfio/devices/%s", names[0]), O_RDWR))};
  NEED(iommufd);
  NEED(d.fd);
  NEED(bind_to(&d, iommufd));
  NEED(attach_to(&d, ioas_alloc(iommufd)));
  const uint32_t count = irq_of(d.fd, VFIO_PCI_MSIX_IRQ_INDEX).count;
  if (count < 2) SKIP("needs two vectors");
  const int32_t fds[] = {keep(eventfd(0, EFD_CLOEXEC)), keep(eventfd(0, EFD_CLOEXEC))}, without[] = {fds[0], -1};
  NEED(set_irqs(d.fd, VFIO_PCI_MSIX_IRQ_INDEX, 2, fds));
  for (uint32_t i = 0; i < 2; i++) {
    NEED(raise_irq(d.fd, VFIO_PCI_MSIX_IRQ_INDEX, i));
    CHECK(signalled(fds[i]));
  }
  NEED(set_irqs(d.fd, VFIO_PCI_MSIX_IRQ_INDEX, 2, without));
  NEED(raise_irq(d.fd, VFIO_PCI_MSIX_IRQ_INDEX, 0));
  CHECK(signalled(fds[0]));
}

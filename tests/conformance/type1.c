/* SPDX-License-Identifier: BSD-3-Clause */
/* Native VFIO containers and their type1 IOMMU (spec vfio-device 18). IOMMUFD_TEST_WAY is type1 or type1v2. */
#define _GNU_SOURCE
#include "group.h"

#define BASE 0x100000u

static int extension(int container, unsigned long n) { return ioctl(container, VFIO_CHECK_EXTENSION, n); }

SECTION("vfio-device 18");

TEST(K01, "before a type is set: versions, extensions; everything else is EINVAL") {
  const int container = open_container_file();
  const struct vdev d = nth_device(0);
  uint64_t arg[16] = {64};
  CHECK_EQ(ioctl(container, VFIO_GET_API_VERSION), 0);
  CHECK_EQ(extension(container, VFIO_TYPE1_IOMMU), 1);
  CHECK_EQ(extension(container, VFIO_TYPE1v2_IOMMU), 1);
  CHECK_EQ(extension(container, VFIO_UNMAP_ALL), 1);
  CHECK_EQ(extension(container, VFIO_DMA_CC_IOMMU), 0);
  CHECK_EQ(extension(container, VFIO_UPDATE_VADDR), 0);
  CHECK_EQ(extension(container, 6), 0); /* nesting is gone */
  CHECK_EQ(extension(container, 2), 0);
  CHECK_EQ(extension(container, 0x100000001), 0);
  CHECK_ERR(ioctl(container, VFIO_IOMMU_GET_INFO, arg), EINVAL);
  CHECK_ERR(dma_map(container, DMA_RW, pages(PAGE), BASE, PAGE), EINVAL);
  CHECK_ERR(ioctl(container, _IO(';', 0x7e)), EINVAL);
  CHECK_ERR(set_iommu(container), EINVAL); /* no group */
  REQUIRE(CHECK_OK(set_container(open_group(&d), container)));
  CHECK_EQ(extension(container, VFIO_NOIOMMU_IOMMU), 0);
  CHECK_ERR(ioctl(container, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU), ENODEV);
  CHECK_ERR(ioctl(container, VFIO_SET_IOMMU, 7), ENODEV);
  CHECK_OK(set_iommu(container));
  CHECK_ERR(set_iommu(container), EINVAL);
  CHECK_EQ(extension(container, VFIO_DMA_CC_IOMMU), 1);
  CHECK_EQ(extension(container, VFIO_UPDATE_VADDR), 1);
  CHECK_ERR(ioctl(container, _IO(';', 0x7e)), ENOTTY);
}

TEST(K02, "the last group that leaves takes the IOMMU and what was mapped with it") {
  const struct setup s = set_up(0);
  uint64_t size = 0;
  REQUIRE(CHECK_OK(dma_map(s.container, DMA_RW, pages(PAGE), BASE, PAGE)));
  CHECK_OK(unset_container(s.group));
  CHECK_ERR(dma_map(s.container, DMA_RW, pages(PAGE), BASE, PAGE), EINVAL);
  REQUIRE(CHECK_OK(set_container(s.group, s.container)));
  CHECK_OK(set_iommu(s.container));
  CHECK_OK(dma_unmap(s.container, VFIO_DMA_UNMAP_FLAG_ALL, 0, &size));
  CHECK_EQ(size, 0);
}

TEST(K03, "two groups in one container share its mappings") {
  const struct setup s = set_up(0);
  uint8_t* memory = pages(PAGE);
  struct setup second = {.device = nth_device(1), .container = s.container};
  REQUIRE(CHECK_OK(dma_map(s.container, DMA_RW, memory, BASE, PAGE)));
  second.group = open_group(&second.device);
  REQUIRE(CHECK_OK(set_container(second.group, s.container)));
  const struct edu a = edu_from(open_in_group(&s)), b = edu_from(open_in_group(&second));
  fill(memory, 64, 1);
  edu_load(&a, BASE, 64);
  fill(memory, 64, 2);
  edu_load(&b, BASE, 64);
  memset(memory, 0, 64);
  edu_store(&a, BASE, 64);
  CHECK(filled(memory, 64, 1));
  edu_store(&b, BASE, 64);
  CHECK(filled(memory, 64, 2));
}

TEST(K04, "GET_INFO: page sizes, ranges, dirty bitmaps, room for mappings; a short buffer learns the size") {
  const struct setup s = set_up(0);
  uint8_t buffer[512] = {0};
  struct vfio_iommu_type1_info* info = (void*)buffer;
  unsigned seen = 0;
  info->argsz = 15;
  CHECK_ERR(ioctl(s.container, VFIO_IOMMU_GET_INFO, info), EINVAL);
  info->argsz = sizeof(*info);
  REQUIRE(CHECK_OK(ioctl(s.container, VFIO_IOMMU_GET_INFO, info)));
  CHECK(info->argsz > sizeof(*info) && info->argsz <= sizeof(buffer));
  CHECK_EQ(info->cap_offset, 0);
  CHECK_EQ(info->flags, VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS);
  CHECK(info->iova_pgsizes & PAGE);
  REQUIRE(CHECK_OK(dma_map(s.container, DMA_RW, pages(PAGE), BASE, PAGE)));
  info->argsz = sizeof(buffer);
  REQUIRE(CHECK_OK(ioctl(s.container, VFIO_IOMMU_GET_INFO, info)));
  for (uint32_t at = info->cap_offset; at != 0; at = ((struct vfio_info_cap_header*)(buffer + at))->next) {
    const struct vfio_info_cap_header* cap = (void*)(buffer + at);
    seen |= 1u << cap->id;
    if (cap->id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) {
      const struct vfio_iommu_type1_info_cap_iova_range* ranges = (const void*)cap;
      CHECK_GE(ranges->nr_iovas, 1);
      CHECK_EQ(ranges->iova_ranges[0].start, 0);
    } else if (cap->id == VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION) {
      CHECK_EQ(((const struct vfio_iommu_type1_info_cap_migration*)cap)->pgsize_bitmap, PAGE);
    } else {
      CHECK_EQ(((const struct vfio_iommu_type1_info_dma_avail*)cap)->avail, 65534);
    }
  }
  CHECK_EQ(seen, 0xe);
}

TEST(K05, "MAP_DMA: every error") {
  const struct setup s = set_up(0);
  uint8_t* memory = pages(4 * PAGE);
  struct vfio_iommu_type1_dma_map cmd = {.argsz = 31};
  CHECK_ERR(ioctl(s.container, VFIO_IOMMU_MAP_DMA, NULL), EFAULT);
  CHECK_ERR(ioctl(s.container, VFIO_IOMMU_MAP_DMA, &cmd), EINVAL);
  CHECK_ERR(dma_map(s.container, 8 | DMA_RW, memory, BASE, PAGE), EINVAL);
  CHECK_ERR(dma_map(s.container, 0, memory, BASE, PAGE), EINVAL);
  CHECK_ERR(dma_map(s.container, DMA_RW, memory, BASE, 0), EINVAL);
  CHECK_ERR(dma_map(s.container, DMA_RW, memory, BASE, 100), EINVAL);
  CHECK_ERR(dma_map(s.container, DMA_RW, memory + 8, BASE, PAGE), EINVAL);
  CHECK_ERR(dma_map(s.container, DMA_RW, memory, BASE + 8, PAGE), EINVAL);
  CHECK_ERR(dma_map(s.container, DMA_RW, memory, MAX - PAGE + 1, 2 * PAGE), EOVERFLOW);
  CHECK_ERR(dma_map(s.container, DMA_RW, (void*)(MAX - PAGE + 1), BASE, 2 * PAGE), EOVERFLOW);
  CHECK_ERR(dma_map(s.container, DMA_RW, memory, 0xfee00000, PAGE), EINVAL); /* where interrupts go */
  CHECK_ERR(dma_map(s.container, DMA_RW, no_page(), BASE, PAGE), EFAULT);
  CHECK_OK(dma_map(s.container, DMA_RW, memory, BASE, 2 * PAGE));
  CHECK_ERR(dma_map(s.container, DMA_RW, memory, BASE, 2 * PAGE), EEXIST);
  CHECK_ERR(dma_map(s.container, DMA_RW, memory, BASE + PAGE, 2 * PAGE), EEXIST);
  CHECK_ERR(dma_map(s.container, DMA_RW, memory, BASE - PAGE, 4 * PAGE), EEXIST);
  CHECK_OK(dma_map(s.container, DMA_RW, memory, BASE + 2 * PAGE, PAGE));
}

TEST(K06, "UNMAP_DMA: every error, nothing there, all") {
  const struct setup s = set_up(0);
  uint64_t size = PAGE;
  CHECK_ERR(dma_unmap_range(s.container, BASE, 0), EINVAL);
  CHECK_ERR(dma_unmap_range(s.container, BASE, 100), EINVAL);
  CHECK_ERR(dma_unmap_range(s.container, BASE + 8, PAGE), EINVAL);
  CHECK_ERR(dma_unmap_range(s.container, MAX - PAGE + 1, 2 * PAGE), EOVERFLOW);
  CHECK_ERR(dma_unmap(s.container, 8, BASE, &size), EINVAL);
  CHECK_ERR(dma_unmap(s.container, VFIO_DMA_UNMAP_FLAG_ALL, 0, &size), EINVAL);
  CHECK_OK(dma_unmap(s.container, 0, BASE, &size));
  CHECK_EQ(size, 0);
  REQUIRE(CHECK_OK(dma_map(s.container, DMA_RW, pages(PAGE), BASE, PAGE)));
  REQUIRE(CHECK_OK(dma_map(s.container, DMA_RW, pages(2 * PAGE), 4 * BASE, 2 * PAGE)));
  size = 0;
  CHECK_OK(dma_unmap(s.container, VFIO_DMA_UNMAP_FLAG_ALL, 0, &size));
  CHECK_EQ(size, 3 * PAGE);
}

TEST(K07, "UNMAP_DMA that cuts a mapping: EINVAL in version 2; version 1 unmaps whole what begins in the range") {
  const struct setup s = set_up(0);
  uint64_t size = PAGE;
  REQUIRE(CHECK_OK(dma_map(s.container, DMA_RW, pages(4 * PAGE), BASE, 4 * PAGE)));
  REQUIRE(CHECK_OK(dma_map(s.container, DMA_RW, pages(4 * PAGE), BASE + 4 * PAGE, 4 * PAGE)));
  if (way_is("type1v2")) {
    CHECK_ERR(dma_unmap_range(s.container, BASE, PAGE), EINVAL);
    CHECK_ERR(dma_unmap_range(s.container, BASE + PAGE, 3 * PAGE), EINVAL);
    CHECK_ERR(dma_unmap_range(s.container, BASE + PAGE, 7 * PAGE), EINVAL);
    size = 16 * PAGE;
    CHECK_OK(dma_unmap(s.container, 0, BASE - PAGE, &size));
    CHECK_EQ(size, 8 * PAGE);
  } else {
    CHECK_OK(dma_unmap(s.container, 0, BASE + PAGE, &size));
    CHECK_EQ(size, 0);
    size = PAGE;
    CHECK_OK(dma_unmap(s.container, 0, BASE, &size));
    CHECK_EQ(size, 4 * PAGE);
    size = 2 * PAGE;
    CHECK_OK(dma_unmap(s.container, 0, BASE + 3 * PAGE, &size));
    CHECK_EQ(size, 4 * PAGE);
  }
}

/* struct vfio_iommu_type1_dirty_bitmap with its data */
struct dirty {
  uint32_t argsz, flags;
  struct vfio_iommu_type1_dirty_bitmap_get get;
};

static int dirty_pages(int container, uint32_t flags, uint64_t iova, uint64_t size, uint64_t* bits, uint64_t bytes) {
  struct dirty d = {
      .argsz = sizeof(d),
      .flags = flags,
      .get = {.iova = iova, .size = size, .bitmap = {.pgsize = PAGE, .size = bytes, .data = (void*)bits}}};
  return ioctl(container, VFIO_IOMMU_DIRTY_PAGES, &d);
}

TEST(K08, "DIRTY_PAGES: every mapped page is dirty while it is on") {
  const struct setup s = set_up(0);
  uint64_t bits[2] = {0, 0};
  REQUIRE(CHECK_OK(dma_map(s.container, DMA_RW, pages(2 * PAGE), BASE, 2 * PAGE)));
  REQUIRE(CHECK_OK(dma_map(s.container, DMA_RW, pages(PAGE), BASE + 5 * PAGE, PAGE)));
  CHECK_ERR(dirty_pages(s.container, 4, BASE, 8 * PAGE, bits, 8), EINVAL); /* off */
  CHECK_ERR(dirty_pages(s.container, 3, 0, 0, bits, 8), EINVAL);
  CHECK_ERR(dirty_pages(s.container, 8, 0, 0, bits, 8), EINVAL);
  CHECK_OK(dirty_pages(s.container, 1, 0, 0, bits, 0));
  CHECK_OK(dirty_pages(s.container, 4, BASE, 8 * PAGE, bits, 8));
  CHECK_EQ(bits[0] & 0xff, 0x23);
  CHECK_ERR(dirty_pages(s.container, 4, BASE, 8 * PAGE, bits, 0), EINVAL);
  CHECK_ERR(dirty_pages(s.container, 4, BASE + PAGE, 7 * PAGE, bits, 8), EINVAL); /* cuts a mapping */
  CHECK_ERR(dirty_pages(s.container, 4, BASE, 0, bits, 8), EINVAL);
  CHECK_ERR(dirty_pages(s.container, 4, BASE, 8 * PAGE, (uint64_t*)no_page(), 8), EFAULT);
  struct { /* struct vfio_iommu_type1_dma_unmap with its data */
    uint32_t argsz, flags;
    uint64_t iova, size;
    struct vfio_bitmap bitmap;
  } unmap = {.argsz = sizeof(unmap),
             .flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
             .iova = BASE,
             .size = 2 * PAGE,
             .bitmap = {.pgsize = PAGE, .size = 8, .data = (void*)&bits[1]}};
  CHECK_OK(ioctl(s.container, VFIO_IOMMU_UNMAP_DMA, &unmap));
  CHECK_EQ(unmap.size, 2 * PAGE);
  CHECK_EQ(bits[1], 3);
  CHECK_OK(dirty_pages(s.container, 2, 0, 0, bits, 0));
  CHECK_ERR(dirty_pages(s.container, 4, BASE + 5 * PAGE, PAGE, bits, 8), EINVAL);
}

TEST(K09, "addresses taken back and given anew: VADDR of UNMAP_DMA and MAP_DMA") {
  const struct setup s = set_up(0);
  uint8_t *memory = pages(PAGE), *other = pages(PAGE);
  uint64_t size = PAGE;
  REQUIRE(CHECK_OK(dma_map(s.container, DMA_RW, memory, BASE, PAGE)));
  CHECK_ERR(dma_map(s.container, VFIO_DMA_MAP_FLAG_VADDR, other, BASE, PAGE), EINVAL); /* it has one */
  CHECK_ERR(dma_map(s.container, VFIO_DMA_MAP_FLAG_VADDR, other, 8 * BASE, PAGE), ENOENT);
  CHECK_ERR(dma_map(s.container, VFIO_DMA_MAP_FLAG_VADDR | DMA_RW, other, BASE, PAGE), EINVAL);
  CHECK_OK(dma_unmap(s.container, VFIO_DMA_UNMAP_FLAG_VADDR, BASE, &size));
  CHECK_EQ(size, PAGE);
  CHECK_ERR(dma_unmap(s.container, VFIO_DMA_UNMAP_FLAG_VADDR, BASE, &size), EINVAL);
  CHECK_ERR(dma_map(s.container, DMA_RW, other, BASE, PAGE), EEXIST);
  CHECK_OK(dma_map(s.container, VFIO_DMA_MAP_FLAG_VADDR, other, BASE, PAGE));
  size = PAGE;
  CHECK_OK(dma_unmap(s.container, 0, BASE, &size));
  CHECK_EQ(size, PAGE);
}

TEST(K10, "no more than 65535 mappings: ENOSPC") {
  const struct setup s = set_up(0);
  uint8_t* memory = pages(PAGE);
  uint64_t size = 0;
  for (uint64_t i = 0; i < 65535; i++)
    REQUIRE(CHECK_OK(dma_map(s.container, VFIO_DMA_MAP_FLAG_READ, memory, 0x100000000u + i * 2 * PAGE, PAGE)));
  CHECK_ERR(dma_map(s.container, VFIO_DMA_MAP_FLAG_READ, memory, BASE, PAGE), ENOSPC);
  CHECK_OK(dma_unmap(s.container, VFIO_DMA_UNMAP_FLAG_ALL, 0, &size));
  CHECK_EQ(size, (uint64_t)65535 * PAGE);
}

SECTION("clients 1.1");

TEST(K11,
     "a BAR that is mapped: another device reaches its registers, through a reset too; iommufd's rule is another") {
  const struct setup s = set_up(0);
  const struct vdev owner = open_in_group(&s);
  struct setup other = {.device = nth_device(1), .container = s.container};
  struct vfio_region_info bar;
  uint32_t value = 0x12345678, *ram = (uint32_t*)pages(PAGE);
  REQUIRE(CHECK_OK(region_info(&owner, 0, &bar)));
  if (!(bar.flags & VFIO_REGION_INFO_FLAG_MMAP)) SKIP("BAR 0 cannot be mapped");
  other.group = open_group(&other.device);
  REQUIRE(CHECK_OK(set_container(other.group, other.container)));
  const struct edu first = edu_from(owner), second = edu_from(open_in_group(&other));
  void* registers = mmap(NULL, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED, owner.fd, (off_t)bar.offset);
  REQUIRE(CHECK(registers != MAP_FAILED));
  REQUIRE(CHECK_OK(dma_map(s.container, DMA_RW, registers, BASE, PAGE)));
  REQUIRE(CHECK_OK(dma_map(s.container, DMA_RW, ram, 2 * BASE, PAGE)));
  CHECK_ERR(dma_map(s.container, DMA_RW, (char*)registers + bar.size - PAGE, 4 * BASE, 2 * PAGE), EFAULT);
  for (int round = 0; round < 2; round++) {
    ram[0] = value;
    edu_load(&second, 2 * BASE, 4);
    edu_store(&second, BASE + EDU_LIVENESS, 4);
    CHECK_EQ(edu_read4(&first, EDU_LIVENESS), ~value);
    edu_load(&second, BASE + EDU_ID, 4);
    edu_store(&second, 2 * BASE + 4, 4);
    CHECK_EQ(ram[1], edu_read4(&first, EDU_ID));
    CHECK_OK(ioctl(owner.fd, VFIO_DEVICE_RESET));
    set_command(&first, PCI_COMMAND_MEMORY, 0);
    value = 0x9abcdef0;
  }
  CHECK_OK(dma_unmap_range(s.container, BASE, PAGE));
  munmap(registers, bar.size);
}

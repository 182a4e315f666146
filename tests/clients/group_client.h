/* SPDX-License-Identifier: BSD-3-Clause */
/* Groups and containers, for the clients that use them. */
#ifndef CLIENTS_GROUP_CLIENT_H
#define CLIENTS_GROUP_CLIENT_H

#include "client.h"

/* The group's number, by the link in /sys. */
static inline unsigned group_number(void) {
  const char* name = link_name(device_path("iommu_group"));
  unsigned n = 0;
  REQUIRE(CHECK(name != NULL && sscanf(name, "%u", &n) == 1));
  return n;
}

static inline uint32_t status_of(int group) {
  struct vfio_group_status status = {.argsz = sizeof(status)};
  NEED(ioctl(group, VFIO_GROUP_GET_STATUS, &status));
  return status.flags;
}

static inline int container_map(int container, void* memory, uint64_t iova, uint64_t size) {
  struct vfio_iommu_type1_dma_map cmd = {.argsz = sizeof(cmd),
                                         .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                                         .vaddr = (uintptr_t)memory,
                                         .iova = iova,
                                         .size = size};
  return ioctl(container, VFIO_IOMMU_MAP_DMA, &cmd);
}

/* The bytes that were unmapped, or -1. */
static inline int64_t container_unmap(int container, uint32_t flags, uint64_t iova, uint64_t size) {
  struct vfio_iommu_type1_dma_unmap cmd = {.argsz = sizeof(cmd), .flags = flags, .iova = iova, .size = size};
  return ioctl(container, VFIO_IOMMU_UNMAP_DMA, &cmd) == 0 ? (int64_t)cmd.size : -1;
}

/* The ranges of VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, from GET_INFO with a buffer that grows to what it asks for. */
static inline int container_ranges(int container, struct vfio_iova_range* ranges, int room) {
  struct vfio_iommu_type1_info* info = calloc(1, sizeof(*info));
  int num = -1;
  info->argsz = sizeof(*info);
  NEED(ioctl(container, VFIO_IOMMU_GET_INFO, info));
  if (info->argsz > sizeof(*info)) {
    const uint32_t size = info->argsz;
    info = realloc(info, size);
    memset(info, 0, size);
    info->argsz = size;
    NEED(ioctl(container, VFIO_IOMMU_GET_INFO, info));
  }
  CHECK(info->flags & VFIO_IOMMU_INFO_PGSIZES);
  CHECK(info->iova_pgsizes & PAGE);
  for (uint32_t at = info->flags & VFIO_IOMMU_INFO_CAPS ? info->cap_offset : 0; at != 0;) {
    const struct vfio_info_cap_header* cap = (void*)((char*)info + at);
    const struct vfio_iommu_type1_info_cap_iova_range* list = (const void*)cap;
    if (cap->id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE)
      for (num = 0; num < (int)list->nr_iovas && num < room; num++) ranges[num] = list->iova_ranges[num];
    at = cap->next;
  }
  free(info);
  return num;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* A device without an IOMMU, bound, and the physical addresses of what is mapped for it. */
#ifndef CONFORMANCE_NOIOMMU_H
#define CONFORMANCE_NOIOMMU_H

#include "uapi.h"

struct setup {
  int iommufd;
  struct vdev dev;
  uint32_t ioas, hwpt;
  uint8_t* memory;
};
#define SETUP_PAGES 32u
#define SETUP_IOVA 0x100000u

static inline struct setup set_up(bool attached) {
  struct setup s = {.iommufd = open_iommufd()};
  s.dev = open_and_bind(NOIOMMU, 0, s.iommufd);
  s.ioas = s.hwpt = ioas_alloc(s.iommufd);
  s.memory = pages(SETUP_PAGES * PAGE);
  if (attached) REQUIRE(CHECK_OK(attach(&s.dev, &s.hwpt)));
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, s.memory, SETUP_PAGES * PAGE, SETUP_IOVA)));
  return s;
}

static inline int query_pa(const struct setup* s, uint64_t iova, uint64_t most, uint64_t* length, uint64_t* phys) {
  *length = most;
  *phys = 0;
  return get_pa(s->iommufd, s->ioas, iova, length, phys);
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* An iommufd with one IOAS, without and with a page table in it. */
#ifndef CONFORMANCE_SPACE_H
#define CONFORMANCE_SPACE_H

#include "uapi.h"

struct space {
  int iommufd;
  uint32_t ioas;
};

static inline struct space fresh(void) {
  struct space s = {.iommufd = open_iommufd()};
  s.ioas = ioas_alloc(s.iommufd);
  return s;
}

static inline struct space with_domain(enum kind kind) {
  const struct space s = fresh();
  add_domain(s.iommufd, s.ioas, kind);
  return s;
}

static inline int map_raw(int iommufd, uint32_t flags, uint32_t ioas, uint64_t va, uint64_t length, uint64_t iova) {
  return map_full(iommufd, ioas, flags, va, length, &iova);
}

#endif

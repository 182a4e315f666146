/* SPDX-License-Identifier: BSD-3-Clause */
/* An open of /dev/iommu that is a VFIO type1 container: one of its IOASes is the compat IOAS. */
#ifndef CONFORMANCE_CONTAINER_H
#define CONFORMANCE_CONTAINER_H

#include "uapi.h"

static inline int set_compat(int iommufd, uint32_t ioas) {
  struct iommu_vfio_ioas cmd = {.size = sizeof(cmd), .ioas_id = ioas, .op = IOMMU_VFIO_IOAS_SET};
  return ioctl(iommufd, IOMMU_VFIO_IOAS, &cmd);
}

struct container {
  int iommufd;
  uint32_t ioas;
};

static inline struct container open_container(void) {
  struct container c = {.iommufd = open_iommufd()};
  c.ioas = ioas_alloc(c.iommufd);
  REQUIRE(CHECK_OK(set_compat(c.iommufd, c.ioas)));
  return c;
}

#endif

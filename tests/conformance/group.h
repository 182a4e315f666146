/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The group interface of VFIO: a program's way from a device to its group and a container. IOMMUFD_TEST_WAY says which container
 * and type: type1 (default), type1v2, iommufd (an open of /dev/iommu), container_is_iommufd (/dev/vfio/vfio, which is the same);
 * IOMMUFD_TEST_KIND=noiommu says that it is a group without an IOMMU. Programs whose subject is the device alone
 * use its own node, and its group when IOMMUFD_TEST_WAY is set.
 */
#ifndef CONFORMANCE_GROUP_H
#define CONFORMANCE_GROUP_H

#include "edu.h"

static inline enum kind kind(void) {
  const char* k = getenv("IOMMUFD_TEST_KIND");
  return k && strcmp(k, "noiommu") == 0 ? NOIOMMU : BEHIND_IOMMU;
}

static inline bool way_is(const char* name) {
  const char* way = getenv("IOMMUFD_TEST_WAY");
  return strcmp(way ? way : "type1", name) == 0;
}

static inline unsigned long iommu_type(void) {
  if (kind() == NOIOMMU) return VFIO_NOIOMMU_IOMMU;
  return way_is("type1") ? VFIO_TYPE1_IOMMU : VFIO_TYPE1v2_IOMMU;
}

/* The nth device of the kind, not opened. */
static inline struct vdev nth_device(int nth) {
  struct vdev d = {.fd = -1};
  if (!find_device(kind(), nth, &d)) {
    if (getenv("IOMMUFD_TEST_STRICT") && nth == 0) harness.failed = true;
    SKIP("needs %d device(s) of the kind", nth + 1);
  }
  return d;
}

static inline int open_container_file(void) {
  const int fd = keep(open(way_is("iommufd") ? "/dev/iommu" : "/dev/vfio/vfio", O_RDWR | O_CLOEXEC));
  REQUIRE(CHECK_OK(fd));
  return fd;
}

/* Opens /dev/vfio/N or /dev/vfio/noiommu-N, by way of the link in sysfs. */
static inline int open_group_of(const struct vdev* d, enum kind k) {
  char link[PATH_MAX], target[PATH_MAX], path[64];
  ssize_t n;
  snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s/iommu_group", d->bdf);
  n = readlink(link, target, sizeof(target) - 1);
  if (n <= 0) return -1;
  target[n] = 0;
  snprintf(path, sizeof(path), "/dev/vfio/%s%.16s", k == NOIOMMU ? "noiommu-" : "", strrchr(target, '/') + 1);
  return open(path, O_RDWR | O_CLOEXEC);
}

static inline int try_open_group(const struct vdev* d) { return keep(open_group_of(d, kind())); }

static inline int open_group(const struct vdev* d) {
  const int fd = try_open_group(d);
  REQUIRE(CHECK_OK(fd));
  return fd;
}

static inline int set_container(int group, int container) { return ioctl(group, VFIO_GROUP_SET_CONTAINER, &container); }
static inline int unset_container(int group) { return ioctl(group, VFIO_GROUP_UNSET_CONTAINER); }
static inline int set_iommu(int container) { return ioctl(container, VFIO_SET_IOMMU, iommu_type()); }

static inline uint32_t group_flags(int group) {
  struct vfio_group_status status = {.argsz = sizeof(status)};
  REQUIRE(CHECK_OK(ioctl(group, VFIO_GROUP_GET_STATUS, &status)));
  return status.flags;
}

static inline int device_fd(int group, const char* name) { return keep(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name)); }

/* A container with one group in it and an IOMMU. */
struct setup {
  struct vdev device; /* not opened */
  int container, group;
};

static inline struct setup set_up(int nth) {
  struct setup s = {.device = nth_device(nth), .container = open_container_file()};
  s.group = open_group(&s.device);
  REQUIRE(CHECK_OK(set_container(s.group, s.container)));
  REQUIRE(CHECK_OK(set_iommu(s.container)));
  return s;
}

static inline struct vdev open_in_group(const struct setup* s) {
  struct vdev d = s->device;
  d.fd = device_fd(s->group, d.bdf);
  REQUIRE(CHECK_OK(d.fd));
  return d;
}

/* ---- a device, whichever way it is opened ------------------------------------------------------------------ */

static inline bool by_group(void) { return getenv("IOMMUFD_TEST_WAY") != NULL; }

/* For tests of what only a device's own node has. */
static inline void need_node(void) {
  if (by_group()) SKIP("the device is opened through its group");
}

/* The first device of the kind, open for use: bound to an iommufd of its own, or got from its group. */
static inline struct vdev device_in_use(void) {
  if (!by_group()) return open_and_bind(kind(), 0, open_iommufd());
  const struct setup s = set_up(0);
  return open_in_group(&s);
}

/* ---- what a container maps ------------------------------------------------------------------------------- */

static inline int dma_map(int container, uint32_t flags, const void* memory, uint64_t iova, uint64_t size) {
  struct vfio_iommu_type1_dma_map cmd = {
      .argsz = sizeof(cmd), .flags = flags, .vaddr = (uintptr_t)memory, .iova = iova, .size = size};
  return ioctl(container, VFIO_IOMMU_MAP_DMA, &cmd);
}

#define DMA_RW (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

/* *size: what is to be unmapped, then what was. */
static inline int dma_unmap(int container, uint32_t flags, uint64_t iova, uint64_t* size) {
  struct vfio_iommu_type1_dma_unmap cmd = {.argsz = sizeof(cmd), .flags = flags, .iova = iova, .size = *size};
  const int r = ioctl(container, VFIO_IOMMU_UNMAP_DMA, &cmd);
  *size = cmd.size;
  return r;
}

static inline int dma_unmap_range(int container, uint64_t iova, uint64_t size) {
  return dma_unmap(container, 0, iova, &size);
}

#endif

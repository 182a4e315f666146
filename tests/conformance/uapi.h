/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the conformance programs share: finding the machine's edu devices, and one short function for each
 * command, which returns what ioctl(2) returns. Nothing here knows what carries the calls.
 *
 * Devices: IOMMUFD_TEST_BDF_IOMMU and IOMMUFD_TEST_BDF_NOIOMMU hold addresses with commas between them;
 * without them every 1234:11e8 below /sys/bus/pci/devices that has a VFIO node is used, in the order of their
 * addresses.
 */
#ifndef CONFORMANCE_UAPI_H
#define CONFORMANCE_UAPI_H

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "harness.h"

#define PAGE 4096u
#define MAX UINT64_MAX
#define RW (IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE)
#define FIXED IOMMU_IOAS_MAP_FIXED_IOVA
#define NO_ID 0xffffffffu

enum kind { BEHIND_IOMMU, NOIOMMU };

struct vdev {
  char bdf[16];
  char name[64]; /* vfioN or noiommu-vfioN */
  int fd;
  uint32_t id; /* in the iommufd, once bound */
};

/* ---- finding devices --------------------------------------------------------------------------------- */

static inline bool read_text(const char* path, char* text, size_t room) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n;
  if (fd < 0) return false;
  n = read(fd, text, room - 1);
  close(fd);
  if (n < 0) return false;
  text[n] = 0;
  while (n > 0 && text[n - 1] == '\n') text[--n] = 0;
  return true;
}

/* The entry below vfio-dev/ of a device, or false when it has none. */
static inline bool vfio_name(const char* bdf, char* name, size_t room) {
  char path[PATH_MAX];
  struct dirent* e;
  DIR* dir;
  snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", bdf);
  dir = opendir(path);
  if (!dir) return false;
  while ((e = readdir(dir)) && e->d_name[0] == '.') continue;
  if (e) snprintf(name, room, "%.*s", (int)room - 1, e->d_name);
  closedir(dir);
  return e != NULL;
}

static inline int compare_names(const struct dirent** a, const struct dirent** b) {
  return strcmp((*a)->d_name, (*b)->d_name);
}

static inline bool is_edu(const char* bdf) {
  char path[PATH_MAX], vendor[32], device[32];
  snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vendor", bdf);
  if (!read_text(path, vendor, sizeof(vendor))) return false;
  snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/device", bdf);
  return read_text(path, device, sizeof(device)) && strcmp(vendor, "0x1234") == 0 && strcmp(device, "0x11e8") == 0;
}

/* The nth (from 0) device of a kind. */
static inline bool find_device(enum kind kind, int nth, struct vdev* d) {
  const char* list = getenv(kind == NOIOMMU ? "IOMMUFD_TEST_BDF_NOIOMMU" : "IOMMUFD_TEST_BDF_IOMMU");
  struct dirent** entries;
  bool found = false;
  int n;
  if (list) {
    while (nth-- > 0 && list) list = strchr(list, ',') ? strchr(list, ',') + 1 : NULL;
    if (!list) return false;
    snprintf(d->bdf, sizeof(d->bdf), "%.*s", (int)strcspn(list, ","), list);
    return vfio_name(d->bdf, d->name, sizeof(d->name));
  }
  n = scandir("/sys/bus/pci/devices", &entries, NULL, compare_names);
  for (int i = 0; i < n; i++) {
    const char* bdf = entries[i]->d_name;
    if (!found && is_edu(bdf) && vfio_name(bdf, d->name, sizeof(d->name)) &&
        (strncmp(d->name, "noiommu-", 8) == 0) == (kind == NOIOMMU) && nth-- == 0) {
      snprintf(d->bdf, sizeof(d->bdf), "%.*s", (int)sizeof(d->bdf) - 1, bdf);
      found = true;
    }
    free(entries[i]);
  }
  if (n >= 0) free(entries);
  return found;
}

static inline int open_node(const char* name, int flags) {
  char path[PATH_MAX];
  snprintf(path, sizeof(path), "/dev/vfio/devices/%s", name);
  return open(path, flags | O_CLOEXEC);
}

/* Opens the nth device of a kind. A machine without it skips the test, or fails it when IOMMUFD_TEST_STRICT is set. */
static inline struct vdev open_nth(enum kind kind, int nth) {
  struct vdev d = {.fd = -1};
  if (!find_device(kind, nth, &d)) {
    if (getenv("IOMMUFD_TEST_STRICT")) harness.failed = true;
    SKIP("needs %d device(s) %s an IOMMU", nth + 1, kind == NOIOMMU ? "without" : "behind");
  }
  d.fd = keep(open_node(d.name, O_RDWR));
  REQUIRE(CHECK_OK(d.fd));
  return d;
}

static inline struct vdev open_device(enum kind kind) { return open_nth(kind, 0); }

/* ---- iommufd commands -------------------------------------------------------------------------------- */

/* A kernel with VFIO's groups alone has none. */
static inline int open_iommufd(void) {
  const int fd = keep(open("/dev/iommu", O_RDWR | O_CLOEXEC));
  if (fd < 0 && errno == ENOENT) {
    if (getenv("IOMMUFD_TEST_STRICT")) harness.failed = true;
    SKIP("needs /dev/iommu");
  }
  REQUIRE(CHECK_OK(fd));
  return fd;
}

static inline int destroy(int iommufd, uint32_t id) {
  struct iommu_destroy cmd = {.size = sizeof(cmd), .id = id};
  return ioctl(iommufd, IOMMU_DESTROY, &cmd);
}

static inline uint32_t ioas_alloc(int iommufd) {
  struct iommu_ioas_alloc cmd = {.size = sizeof(cmd)};
  REQUIRE(CHECK_OK(ioctl(iommufd, IOMMU_IOAS_ALLOC, &cmd)));
  return cmd.out_ioas_id;
}

static inline int map_full(int iommufd, uint32_t ioas, uint32_t flags, uint64_t va, uint64_t length, uint64_t* iova) {
  struct iommu_ioas_map cmd = {
      .size = sizeof(cmd), .flags = flags, .ioas_id = ioas, .user_va = va, .length = length, .iova = *iova};
  const int r = ioctl(iommufd, IOMMU_IOAS_MAP, &cmd);
  *iova = cmd.iova;
  return r;
}

static inline int map_fixed(int iommufd, uint32_t ioas, const void* va, uint64_t length, uint64_t iova) {
  return map_full(iommufd, ioas, RW | FIXED, (uintptr_t)va, length, &iova);
}

/* The same in a process of its own, which has ended afterwards. */
static inline void map_by_child(int iommufd, uint32_t ioas, const void* va, uint64_t length, uint64_t iova) {
  const pid_t child = fork();
  int status;
  if (child == 0) _exit(map_fixed(iommufd, ioas, va, length, iova) != 0);
  REQUIRE(CHECK_EQ(waitpid(child, &status, 0), child));
  REQUIRE(CHECK_EQ(status, 0));
}

static inline int map_va(int iommufd, uint32_t ioas, uint64_t va, uint64_t length, uint64_t* iova) {
  *iova = 0;
  return map_full(iommufd, ioas, RW, va, length, iova);
}

static inline int unmap_full(int iommufd, uint32_t ioas, uint64_t iova, uint64_t* length) {
  struct iommu_ioas_unmap cmd = {.size = sizeof(cmd), .ioas_id = ioas, .iova = iova, .length = *length};
  const int r = ioctl(iommufd, IOMMU_IOAS_UNMAP, &cmd);
  *length = cmd.length;
  return r;
}

static inline int unmap(int iommufd, uint32_t ioas, uint64_t iova, uint64_t length) {
  return unmap_full(iommufd, ioas, iova, &length);
}

static inline int copy_full(int iommufd, uint32_t flags, uint32_t dst, uint32_t src, uint64_t length, uint64_t src_iova,
                            uint64_t* dst_iova) {
  struct iommu_ioas_copy cmd = {.size = sizeof(cmd),
                                .flags = flags,
                                .dst_ioas_id = dst,
                                .src_ioas_id = src,
                                .length = length,
                                .dst_iova = *dst_iova,
                                .src_iova = src_iova};
  const int r = ioctl(iommufd, IOMMU_IOAS_COPY, &cmd);
  *dst_iova = cmd.dst_iova;
  return r;
}

static inline int copy_fixed(int iommufd, uint32_t flags, uint32_t dst, uint32_t src, uint64_t length,
                             uint64_t src_iova, uint64_t dst_iova) {
  return copy_full(iommufd, flags | FIXED, dst, src, length, src_iova, &dst_iova);
}

/* *num: room in `ranges`, then the total. */
static inline int iova_ranges(int iommufd, uint32_t ioas, struct iommu_iova_range* ranges, uint32_t* num,
                              uint64_t* alignment) {
  struct iommu_ioas_iova_ranges cmd = {
      .size = sizeof(cmd), .ioas_id = ioas, .num_iovas = *num, .allowed_iovas = (uintptr_t)ranges};
  const int r = ioctl(iommufd, IOMMU_IOAS_IOVA_RANGES, &cmd);
  *num = cmd.num_iovas;
  *alignment = cmd.out_iova_alignment;
  return r;
}

/* All ranges of an IOAS, which has no more than these. */
struct ranges {
  struct iommu_iova_range at[16];
  uint32_t num;
  uint64_t alignment;
};

static inline struct ranges all_ranges(int iommufd, uint32_t ioas) {
  struct ranges r = {.num = 16};
  REQUIRE(CHECK_OK(iova_ranges(iommufd, ioas, r.at, &r.num, &r.alignment)));
  return r;
}

static inline void check_ranges(int iommufd, uint32_t ioas, uint32_t want_num, uint64_t want_alignment) {
  const struct ranges r = all_ranges(iommufd, ioas);
  CHECK_EQ(r.num, want_num);
  CHECK_EQ(r.alignment, want_alignment);
}

/* The last address of an IOAS. When nothing is behind it the test is skipped. */
static inline uint64_t end_of_aperture(int iommufd, uint32_t ioas) {
  const struct ranges r = all_ranges(iommufd, ioas);
  if (r.at[r.num - 1].last == MAX) SKIP("this IOMMU has no end of its aperture");
  return r.at[r.num - 1].last;
}

static inline int allow_iovas(int iommufd, uint32_t ioas, const struct iommu_iova_range* ranges, uint32_t num) {
  struct iommu_ioas_allow_iovas cmd = {
      .size = sizeof(cmd), .ioas_id = ioas, .num_iovas = num, .allowed_iovas = (uintptr_t)ranges};
  return ioctl(iommufd, IOMMU_IOAS_ALLOW_IOVAS, &cmd);
}

static inline int hwpt_alloc(int iommufd, uint32_t dev, uint32_t pt, uint32_t flags, uint32_t* id) {
  struct iommu_hwpt_alloc cmd = {.size = sizeof(cmd), .flags = flags, .dev_id = dev, .pt_id = pt};
  const int r = ioctl(iommufd, IOMMU_HWPT_ALLOC, &cmd);
  *id = cmd.out_hwpt_id;
  return r;
}

static inline struct iommu_hw_info hw_info(int iommufd, const struct vdev* d, void* data, uint32_t room) {
  struct iommu_hw_info cmd = {.size = sizeof(cmd), .dev_id = d->id, .data_len = room, .data_uptr = (uintptr_t)data};
  REQUIRE(CHECK_OK(ioctl(iommufd, IOMMU_GET_HW_INFO, &cmd)));
  return cmd;
}

/* *length: most bytes wanted, then what is contiguous. */
static inline int get_pa(int iommufd, uint32_t ioas, uint64_t iova, uint64_t* length, uint64_t* phys) {
  struct iommu_ioas_noiommu_get_pa cmd = {.size = sizeof(cmd), .ioas_id = ioas, .iova = iova, .length = *length};
  const int r = ioctl(iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &cmd);
  *length = cmd.length;
  *phys = cmd.out_phys;
  return r;
}

/* ---- VFIO device commands ---------------------------------------------------------------------------- */

static inline int bind_to(struct vdev* d, int iommufd) {
  struct vfio_device_bind_iommufd cmd = {.argsz = sizeof(cmd), .iommufd = iommufd};
  const int r = ioctl(d->fd, VFIO_DEVICE_BIND_IOMMUFD, &cmd);
  d->id = cmd.out_devid;
  return r;
}

static inline struct vdev open_and_bind(enum kind kind, int nth, int iommufd) {
  struct vdev d = open_nth(kind, nth);
  REQUIRE(CHECK_OK(bind_to(&d, iommufd)));
  return d;
}

static inline int attach_full(const struct vdev* d, uint32_t flags, uint32_t pasid, uint32_t* pt) {
  struct vfio_device_attach_iommufd_pt cmd = {.argsz = sizeof(cmd), .flags = flags, .pt_id = *pt, .pasid = pasid};
  const int r = ioctl(d->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &cmd);
  *pt = cmd.pt_id;
  return r;
}

/* *pt: an IOAS or a HWPT, then the HWPT. */
static inline int attach(const struct vdev* d, uint32_t* pt) { return attach_full(d, 0, 0, pt); }

static inline int attach_to(const struct vdev* d, uint32_t pt) { return attach(d, &pt); }

static inline int detach(const struct vdev* d) {
  struct vfio_device_detach_iommufd_pt cmd = {.argsz = sizeof(cmd)};
  return ioctl(d->fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &cmd);
}

static inline int region_info(const struct vdev* d, uint32_t index, struct vfio_region_info* info) {
  memset(info, 0, sizeof(*info));
  info->argsz = sizeof(*info);
  info->index = index;
  return ioctl(d->fd, VFIO_DEVICE_GET_REGION_INFO, info);
}

/* A page table of a device of this kind joins the IOAS, so that its mappings are pinned and its alignment is a page. */
static inline uint32_t add_domain(int iommufd, uint32_t ioas, enum kind kind) {
  uint32_t hwpt;
  REQUIRE(CHECK_OK(hwpt_alloc(iommufd, open_and_bind(kind, 0, iommufd).id, ioas, 0, &hwpt)));
  return hwpt;
}

struct window {
  uint64_t start, last;
};

/* What the first device behind an IOMMU reserves for interrupts (x86: writes there are messages; Arm: where the kernel maps the
 * doorbell), asked in a context of its own. An IOMMU without such a window skips the test. */
static inline struct window interrupt_window(void) {
  struct vdev d = {.fd = -1};
  struct iommu_iova_range r[2];
  uint32_t num = 2;
  uint64_t alignment;
  if (!find_device(BEHIND_IOMMU, 0, &d)) (void)open_nth(BEHIND_IOMMU, 0); /* leaves */
  const int iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
  d.fd = open_node(d.name, O_RDWR);
  const uint32_t ioas = ioas_alloc(iommufd);
  REQUIRE(CHECK_OK(bind_to(&d, iommufd)));
  REQUIRE(CHECK_OK(attach_to(&d, ioas)));
  (void)iova_ranges(iommufd, ioas, r, &num, &alignment);
  close(d.fd);
  close(iommufd);
  if (num < 2) SKIP("the IOMMU reserves no window for interrupts");
  return (struct window){r[0].last + 1, r[1].start - 1};
}

/* ---- known differences -------------------------------------------------------------------------------- */

/* True under iommufd-user, which sets what the runs of this folder set: IOMMUFD_TEST_SIMULATED. */
static inline bool simulated(void) { return getenv("IOMMUFD_TEST_SIMULATED") != NULL; }

/* What the kernel answers, and what iommufd-user answers; docs/abi-matrix.md has the reason. */
static inline int known(int kernel, int ours) { return simulated() ? ours : kernel; }

/* ---- memory ------------------------------------------------------------------------------------------ */

/* Fresh zeroed pages; at a multiple of 2 MiB when there are that many. Left to the exit of the program. */
static inline uint8_t* pages(size_t bytes) {
  const size_t align = bytes >= (2u << 20) ? 2u << 20 : PAGE;
  uint8_t* p = mmap(NULL, bytes + align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(CHECK(p != MAP_FAILED));
  return p + (align - (uintptr_t)p % align) % align;
}

/* A page that nothing maps, so that every access of it is a fault. */
static inline uint8_t* no_page(void) {
  uint8_t* p = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(CHECK(p != MAP_FAILED));
  return p;
}

/* A copy of `bytes` that can be read and not written. */
static inline void* read_only(const void* data, size_t bytes) {
  uint8_t* p = pages(PAGE);
  memcpy(p, data, bytes);
  REQUIRE(CHECK_OK(mprotect(p, PAGE, PROT_READ)));
  return p;
}

#endif

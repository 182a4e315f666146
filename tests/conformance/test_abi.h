/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IOMMU_TEST_CMD, the test ABI of a kernel with CONFIG_IOMMUFD_TEST, and of `iommufd-user run --selftest`: the struct in
 * our own words, and one short function for each operation.
 */
#ifndef CONFORMANCE_TEST_ABI_H
#define CONFORMANCE_TEST_ABI_H

#include <stddef.h>

#include "uapi.h"

#define TEST_CMD _IO(';', 0xa0)

enum {
  OP_ADD_RESERVED = 1,
  OP_MOCK_DOMAIN,
  OP_CHECK_MAP,
  OP_CHECK_REFS,
  OP_CREATE_ACCESS,
  OP_DESTROY_ACCESS_PAGES,
  OP_ACCESS_PAGES,
  OP_ACCESS_RW,
  OP_MEMORY_LIMIT,
  OP_MOCK_DOMAIN_REPLACE,
  OP_ACCESS_REPLACE_IOAS,
  OP_MOCK_DOMAIN_FLAGS,
  OP_DIRTY,
  OP_CHECK_IOTLB,
  OP_TRIGGER_IOPF,
  OP_CHECK_CACHE,
  OP_TRIGGER_VEVENT,
  OP_PASID_ATTACH,
  OP_PASID_REPLACE,
  OP_PASID_DETACH,
  OP_PASID_CHECK_HWPT,
  OP_DMABUF_GET,
  OP_DMABUF_REVOKE,
};

#define TEST_WRITE 1u
#define TEST_SLOW 4u
#define TEST_SYZ 0x10000u
#define NEEDS_PIN 1u
#define NO_DIRTY 1u
#define WITH_PASID 4u
#define MOCK_PAGE 2048u
#define APERTURE 0x1000000u
#define APERTURE_LAST 0x7fffffffu

struct test_cmd {
  uint32_t size, op, id, reserved;
  union {
    struct {
      uint64_t start, length;
    } reserve;
    struct {
      uint32_t stdev, hwpt, idev, flags;
    } mock;
    struct {
      uint64_t iova, length, uptr;
    } check_map;
    struct {
      uint64_t length, uptr;
      uint32_t refs;
    } check_refs;
    struct {
      uint32_t fd, flags;
    } access;
    struct {
      uint32_t flags, item;
      uint64_t iova, length, uptr;
    } pages;
    struct {
      uint64_t iova, length, uptr;
      uint32_t flags;
    } rw;
    struct {
      uint32_t flags;
      uint64_t iova, length, page_size, uptr, nr_dirty;
    } dirty;
    uint32_t word[2];
    struct {
      int32_t fd;
      uint32_t revoked;
    } revoke;
    uint64_t room[6];
  } u;
  uint32_t last;
};
_Static_assert(sizeof(struct test_cmd) == 72 && offsetof(struct test_cmd, last) == 64, "as in the kernel");

static inline int test_ioctl(int iommufd, struct test_cmd* cmd) {
  cmd->size = sizeof(*cmd);
  return ioctl(iommufd, TEST_CMD, cmd);
}

/* Without the test ABI every test of a program is skipped, or fails under IOMMUFD_TEST_STRICT. */
static inline int open_test_iommufd(void) {
  const int fd = open_iommufd();
  struct test_cmd cmd = {.op = 0};
  if (test_ioctl(fd, &cmd) != 0 && errno == ENOTTY) {
    if (getenv("IOMMUFD_TEST_STRICT")) harness.failed = true;
    SKIP("needs IOMMU_TEST_CMD (CONFIG_IOMMUFD_TEST, or run --selftest)");
  }
  return fd;
}

static inline int add_reserved(int iommufd, uint32_t ioas, uint64_t start, uint64_t length) {
  struct test_cmd cmd = {.op = OP_ADD_RESERVED, .id = ioas, .u.reserve = {start, length}};
  return test_ioctl(iommufd, &cmd);
}

struct mock {
  uint32_t stdev, hwpt, idev;
};

static inline int mock_domain_flags(int iommufd, uint32_t pt, uint32_t flags, struct mock* m) {
  struct test_cmd cmd = {.op = OP_MOCK_DOMAIN_FLAGS, .id = pt, .u.mock.flags = flags};
  const int r = test_ioctl(iommufd, &cmd);
  *m = (struct mock){cmd.u.mock.stdev, cmd.u.mock.hwpt, cmd.u.mock.idev};
  return r;
}

static inline struct mock mock_domain(int iommufd, uint32_t pt) {
  struct test_cmd cmd = {.op = OP_MOCK_DOMAIN, .id = pt};
  REQUIRE(CHECK_OK(test_ioctl(iommufd, &cmd)));
  return (struct mock){cmd.u.mock.stdev, cmd.u.mock.hwpt, cmd.u.mock.idev};
}

/* An IOAS with a mock device on it. */
struct world {
  int fd;
  uint32_t ioas;
  struct mock mock;
};

static inline struct world with_mock(void) {
  struct world w = {.fd = open_test_iommufd()};
  w.ioas = ioas_alloc(w.fd);
  w.mock = mock_domain(w.fd, w.ioas);
  return w;
}

static inline int mock_replace(int iommufd, uint32_t stdev, uint32_t* pt) {
  struct test_cmd cmd = {.op = OP_MOCK_DOMAIN_REPLACE, .id = stdev, .u.word = {*pt}};
  const int r = test_ioctl(iommufd, &cmd);
  *pt = cmd.u.word[0];
  return r;
}

static inline int check_map(int iommufd, uint32_t hwpt, uint64_t iova, uint64_t length, const void* at) {
  struct test_cmd cmd = {.op = OP_CHECK_MAP, .id = hwpt, .u.check_map = {iova, length, (uintptr_t)at}};
  return test_ioctl(iommufd, &cmd);
}

static inline int check_refs(int iommufd, const void* at, uint64_t length, uint32_t refs) {
  struct test_cmd cmd = {.op = OP_CHECK_REFS, .u.check_refs = {length, (uintptr_t)at, refs}};
  return test_ioctl(iommufd, &cmd);
}

/* Returns the descriptor. */
static inline int create_access_full(int iommufd, uint32_t ioas, uint32_t flags) {
  struct test_cmd cmd = {.op = OP_CREATE_ACCESS, .id = ioas, .u.access.flags = flags};
  const int r = test_ioctl(iommufd, &cmd);
  return r < 0 ? r : keep((int)cmd.u.access.fd);
}

static inline int create_access(int iommufd, uint32_t ioas, uint32_t flags) {
  const int fd = create_access_full(iommufd, ioas, flags);
  REQUIRE(CHECK_OK(fd));
  return fd;
}

static inline int access_pin(int iommufd, int access, uint64_t iova, uint64_t length, const void* at, uint32_t flags,
                             uint32_t* item) {
  struct test_cmd cmd = {
      .op = OP_ACCESS_PAGES, .id = (uint32_t)access, .u.pages = {flags, NO_ID, iova, length, (uintptr_t)at}};
  const int r = test_ioctl(iommufd, &cmd);
  if (item) *item = cmd.u.pages.item;
  return r;
}

static inline int access_unpin(int iommufd, int access, uint32_t item) {
  struct test_cmd cmd = {.op = OP_DESTROY_ACCESS_PAGES, .id = (uint32_t)access, .u.word = {item}};
  return test_ioctl(iommufd, &cmd);
}

static inline int access_rw(int iommufd, int access, uint64_t iova, void* at, uint64_t length, uint32_t flags) {
  struct test_cmd cmd = {.op = OP_ACCESS_RW, .id = (uint32_t)access, .u.rw = {iova, length, (uintptr_t)at, flags}};
  return test_ioctl(iommufd, &cmd);
}

static inline int access_replace(int iommufd, int access, uint32_t ioas) {
  struct test_cmd cmd = {.op = OP_ACCESS_REPLACE_IOAS, .id = (uint32_t)access, .u.word = {ioas}};
  return test_ioctl(iommufd, &cmd);
}

/* Operations whose arguments are one or two words. */
static inline int word_op(int iommufd, uint32_t op, uint32_t id, uint32_t a, uint32_t b) {
  struct test_cmd cmd = {.op = op, .id = id, .u.word = {a, b}};
  return test_ioctl(iommufd, &cmd);
}

static inline int pasid_attach(int iommufd, uint32_t stdev, uint32_t pasid, uint32_t* pt) {
  struct test_cmd cmd = {.op = OP_PASID_ATTACH, .id = stdev, .u.word = {pasid, *pt}};
  const int r = test_ioctl(iommufd, &cmd);
  *pt = cmd.u.word[1];
  return r;
}

static inline int pasid_replace(int iommufd, uint32_t stdev, uint32_t pasid, uint32_t pt) {
  return word_op(iommufd, OP_PASID_REPLACE, stdev, pasid, pt);
}

static inline int dmabuf_revoke(int iommufd, int fd, uint32_t revoked) {
  struct test_cmd cmd = {.op = OP_DMABUF_REVOKE, .u.revoke = {fd, revoked}};
  return test_ioctl(iommufd, &cmd);
}

static inline int map_file_fixed(int iommufd, uint32_t ioas, int fd, uint64_t start, uint64_t length, uint64_t iova) {
  struct iommu_ioas_map_file cmd = {.size = sizeof(cmd),
                                    .flags = RW | FIXED,
                                    .ioas_id = ioas,
                                    .fd = fd,
                                    .start = start,
                                    .length = length,
                                    .iova = iova};
  return ioctl(iommufd, IOMMU_IOAS_MAP_FILE, &cmd);
}

static inline int hwpt_alloc_data(int iommufd, uint32_t dev, uint32_t pt, uint32_t flags, uint32_t type,
                                  const void* data, uint32_t length, uint32_t* id) {
  struct iommu_hwpt_alloc cmd = {.size = sizeof(cmd),
                                 .flags = flags,
                                 .dev_id = dev,
                                 .pt_id = pt,
                                 .data_type = type,
                                 .data_len = length,
                                 .data_uptr = (uintptr_t)data};
  const int r = ioctl(iommufd, IOMMU_HWPT_ALLOC, &cmd);
  *id = cmd.out_hwpt_id;
  return r;
}

#endif

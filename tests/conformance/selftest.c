/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The mock world of the test ABI: the command, reserved ranges, mock devices and domains (spec selftest-abi 1 to 5; rows X =
 * the command, Y = devices and domains). Accesses are in access.c, buffers in buffers.c.
 */
#define _GNU_SOURCE
#include "test_abi.h"

static uint64_t alignment_of(int iommufd, uint32_t ioas, struct iommu_iova_range* only) {
  uint64_t alignment = 0;
  uint32_t n = 1;
  CHECK_OK(iova_ranges(iommufd, ioas, only, &n, &alignment));
  return alignment;
}

SECTION("selftest-abi 1");

TEST(
    X01,
    "the command: short size EINVAL, long size with a set byte E2BIG, 68 bytes are enough; holes of the table ENOTTY") {
  const int fd = open_test_iommufd();
  struct {
    struct test_cmd cmd;
    uint8_t tail[8];
  } big = {.cmd = {.op = OP_MEMORY_LIMIT, .u.word = {65536}}};
  big.cmd.size = 67;
  CHECK_ERR(ioctl(fd, TEST_CMD, &big), EINVAL);
  big.cmd.size = 68;
  CHECK_OK(ioctl(fd, TEST_CMD, &big));
  big.cmd.size = sizeof(big);
  CHECK_OK(ioctl(fd, TEST_CMD, &big));
  big.tail[7] = 1;
  CHECK_ERR(ioctl(fd, TEST_CMD, &big), E2BIG);
  CHECK_ERR(ioctl(fd, TEST_CMD, no_page()), EFAULT);
  big.tail[7] = 0;
  CHECK_ERR(ioctl(fd, _IO(';', 0x9f), &big), ENOTTY);
  CHECK_ERR(ioctl(fd, _IO(';', 0x9f), no_page()), EFAULT);
  CHECK_ERR(ioctl(fd, _IO(';', 0xa1), &big), ENOTTY);
}

TEST(X02, "unknown operations: EOPNOTSUPP") {
  const int fd = open_test_iommufd();
  CHECK_ERR(word_op(fd, 0, 0, 0, 0), EOPNOTSUPP);
  CHECK_ERR(word_op(fd, 24, 0, 0, 0), EOPNOTSUPP);
}

SECTION("selftest-abi 3");

TEST(X03,
     "ADD_RESERVED: length 0 EINVAL, wrap EOVERFLOW, no IOAS ENOENT, over a mapping EADDRINUSE; stays; overlaps are "
     "fine") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  struct iommu_iova_range r;
  CHECK_ERR(add_reserved(fd, ioas, PAGE, 0), EINVAL);
  CHECK_ERR(add_reserved(fd, 77, MAX, 2), EOVERFLOW);
  CHECK_ERR(add_reserved(fd, 77, PAGE, 1), ENOENT);
  REQUIRE(CHECK_OK(map_fixed(fd, ioas, pages(PAGE), PAGE, 0x10000)));
  CHECK_ERR(add_reserved(fd, ioas, 0x10fff, 1), EADDRINUSE);
  CHECK_OK(add_reserved(fd, ioas, 0, 7));
  CHECK_OK(add_reserved(fd, ioas, 5, 3));
  alignment_of(fd, ioas, &r);
  CHECK_EQ(r.start, 8);
  CHECK_ERR(map_fixed(fd, ioas, pages(PAGE), 1, 7), EINVAL);
}

TEST(X04, "MEMORY_LIMIT: below 12 EINVAL") {
  const int fd = open_test_iommufd();
  CHECK_ERR(word_op(fd, OP_MEMORY_LIMIT, 0, 11, 0), EINVAL);
  CHECK_OK(word_op(fd, OP_MEMORY_LIMIT, 0, 12, 0));
  CHECK_OK(word_op(fd, OP_MEMORY_LIMIT, 0, 65536, 0));
}

SECTION("selftest-abi 4");

TEST(Y01,
     "a mock device: ids in order, its aperture and alignment; gone with its stdev, and the automatic HWPT with it") {
  const struct world w = with_mock();
  struct iommu_iova_range r;
  CHECK_EQ(w.mock.stdev, w.ioas + 1);
  CHECK_EQ(w.mock.idev, w.ioas + 2);
  CHECK_EQ(w.mock.hwpt, w.ioas + 3);
  CHECK_EQ(alignment_of(w.fd, w.ioas, &r), MOCK_PAGE);
  CHECK_EQ(r.start, APERTURE);
  CHECK_EQ(r.last, APERTURE_LAST);
  CHECK_ERR(destroy(w.fd, w.mock.idev), EBUSY);
  CHECK_ERR(destroy(w.fd, w.mock.hwpt), EBUSY);
  CHECK_ERR(destroy(w.fd, w.ioas), EBUSY);
  CHECK_OK(destroy(w.fd, w.mock.stdev));
  CHECK_ERR(destroy(w.fd, w.mock.idev), ENOENT);
  CHECK_ERR(destroy(w.fd, w.mock.hwpt), ENOENT);
  CHECK_EQ(alignment_of(w.fd, w.ioas, &r), 1);
  CHECK_OK(destroy(w.fd, w.ioas));
}

TEST(Y02,
     "MOCK_DOMAIN: unknown flags EINVAL before a bad id, which is ENOENT; a device as target EINVAL; nothing stays") {
  const struct world w = with_mock();
  struct mock other;
  CHECK_ERR(mock_domain_flags(w.fd, 77, 8, &other), EINVAL);
  CHECK_ERR(mock_domain_flags(w.fd, 77, 0, &other), ENOENT);
  CHECK_ERR(mock_domain_flags(w.fd, w.mock.idev, 0, &other), EINVAL);
  CHECK_ERR(mock_domain_flags(w.fd, w.mock.stdev, 0, &other), EINVAL);
  CHECK_OK(mock_domain_flags(w.fd, w.mock.hwpt, 0, &other)); /* a HWPT is a target too */
  CHECK_EQ(other.hwpt, w.mock.hwpt);
  CHECK_EQ(other.stdev, w.mock.hwpt + 1);
}

TEST(Y03, "a result that cannot be told undoes the device") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  struct test_cmd cmd = {.size = sizeof(cmd), .op = OP_MOCK_DOMAIN, .id = ioas};
  struct iommu_iova_range r;
  CHECK_ERR(ioctl(fd, TEST_CMD, read_only(&cmd, sizeof(cmd))), EFAULT);
  CHECK_EQ(alignment_of(fd, ioas, &r), 1);
  CHECK_OK(destroy(fd, ioas));
}

TEST(Y04, "a second device shares the automatic HWPT; replace moves one of them") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd), other = ioas_alloc(fd);
  const struct mock a = mock_domain(fd, ioas), b = mock_domain(fd, ioas);
  uint32_t pt = other;
  CHECK_EQ(a.hwpt, b.hwpt);
  CHECK_OK(mock_replace(fd, a.stdev, &pt));
  CHECK_NE(pt, a.hwpt);
  CHECK_ERR(destroy(fd, a.hwpt), EBUSY);
  pt = other;
  CHECK_OK(mock_replace(fd, b.stdev, &pt));
  CHECK_ERR(destroy(fd, a.hwpt), ENOENT);
  pt = 77;
  CHECK_ERR(mock_replace(fd, a.stdev, &pt), ENOENT);
  pt = other;
  CHECK_ERR(mock_replace(fd, ioas, &pt), ENOENT);
  CHECK_OK(destroy(fd, ioas));
}

SECTION("selftest-abi 3");

TEST(Y05, "mappings: 2 KiB steps are compared; another page, another IOVA or odd numbers EINVAL, no HWPT ENOENT") {
  const struct world w = with_mock();
  uint8_t* memory = pages(4 * PAGE);
  REQUIRE(CHECK_OK(map_fixed(w.fd, w.ioas, memory + MOCK_PAGE, 2 * PAGE + MOCK_PAGE, APERTURE + MOCK_PAGE)));
  CHECK_OK(check_map(w.fd, w.mock.hwpt, APERTURE + MOCK_PAGE, 2 * PAGE + MOCK_PAGE, memory + MOCK_PAGE));
  CHECK_OK(check_map(w.fd, w.mock.hwpt, APERTURE + 2 * PAGE, MOCK_PAGE, memory + 2 * PAGE));
  CHECK_OK(check_map(w.fd, w.mock.hwpt, APERTURE, 0, memory));
  CHECK_ERR(check_map(w.fd, w.mock.hwpt, APERTURE, PAGE, memory), EINVAL);
  CHECK_ERR(check_map(w.fd, w.mock.hwpt, APERTURE + PAGE, PAGE, memory), EINVAL);
  CHECK_ERR(check_map(w.fd, w.mock.hwpt, APERTURE + PAGE, 100, memory + PAGE), EINVAL);
  CHECK_ERR(check_map(w.fd, w.mock.hwpt, APERTURE + PAGE, PAGE, no_page()), EFAULT);
  CHECK_ERR(check_map(w.fd, w.ioas, APERTURE + PAGE, PAGE, memory + PAGE), ENOENT);
  CHECK_ERR(map_fixed(w.fd, w.ioas, memory, 1000, APERTURE + 8 * PAGE), EINVAL);
  CHECK_ERR(map_fixed(w.fd, w.ioas, memory, PAGE, APERTURE_LAST + 1ull), EINVAL);
}

TEST(Y06, "CHECK_REFS: pins of a page; odd numbers EINVAL, another count EIO, memory that is not there EFAULT") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  uint8_t* memory = pages(2 * PAGE);
  mock_domain(fd, ioas);
  CHECK_OK(check_refs(fd, memory, 2 * PAGE, 0));
  REQUIRE(CHECK_OK(map_fixed(fd, ioas, memory, PAGE, APERTURE)));
  REQUIRE(CHECK_OK(map_fixed(fd, ioas, memory, MOCK_PAGE, APERTURE + PAGE)));
  CHECK_OK(check_refs(fd, memory, PAGE, 2));
  CHECK_OK(check_refs(fd, memory + PAGE, PAGE, 0));
  CHECK_ERR(check_refs(fd, memory, 2 * PAGE, 2), EIO);
  CHECK_ERR(check_refs(fd, memory, MOCK_PAGE, 2), EINVAL);
  CHECK_ERR(check_refs(fd, no_page(), PAGE, 0), EFAULT);
}

SECTION("selftest-abi 5");

TEST(Y07,
     "HWPT data: unknown type EOPNOTSUPP, bad length EINVAL, bad pointer EFAULT, unknown table EOPNOTSUPP; huge: 4 "
     "KiB, whole range") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd), other = ioas_alloc(fd);
  const struct mock m = mock_domain(fd, ioas);
  uint32_t data[3] = {0, 2, 0}, id;
  struct iommu_iova_range r;
  CHECK_ERR(hwpt_alloc_data(fd, m.idev, other, 0, 0xdeaf, data, 8, &id), EOPNOTSUPP);
  CHECK_ERR(hwpt_alloc_data(fd, m.idev, other, 0, 0xdead, data, 3, &id), EINVAL);
  CHECK_ERR(hwpt_alloc_data(fd, m.idev, other, 0, 0xdead, data, 12, &id), EINVAL);
  CHECK_ERR(hwpt_alloc_data(fd, m.idev, other, 0, 0xdead, NULL, 8, &id), EFAULT);
  CHECK_ERR(hwpt_alloc_data(fd, m.idev, other, 0, 0xdead, data, 8, &id), EOPNOTSUPP);
  CHECK_ERR(hwpt_alloc_data(fd, m.idev, other, 16, 0xdead, data, 8, &id), EOPNOTSUPP);
  CHECK_ERR(hwpt_alloc_data(fd, m.idev, other, 0, 0, data, 8, &id), EINVAL);
  data[1] = 1;
  REQUIRE(CHECK_OK(hwpt_alloc_data(fd, m.idev, other, 0, 0xdead, data, 8, &id)));
  CHECK_EQ(alignment_of(fd, other, &r), PAGE);
  CHECK_EQ(r.start, 0);
  CHECK_EQ(r.last, (1ull << 38) - 1);
  CHECK_OK(destroy(fd, id));
}

TEST(Y08, "GET_HW_INFO: type, register, capabilities, PASIDs; a type that it is not EOPNOTSUPP") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  struct mock plain, clean, pasid;
  uint32_t data[2] = {1, 1};
  struct iommu_hw_info cmd = {.size = sizeof(cmd), .data_len = sizeof(data), .data_uptr = (uintptr_t)data};
  REQUIRE(CHECK_OK(mock_domain_flags(fd, ioas, 0, &plain)));
  REQUIRE(CHECK_OK(mock_domain_flags(fd, ioas, NO_DIRTY, &clean)));
  REQUIRE(CHECK_OK(mock_domain_flags(fd, ioas, WITH_PASID, &pasid)));
  cmd.dev_id = plain.idev;
  CHECK_OK(ioctl(fd, IOMMU_GET_HW_INFO, &cmd));
  CHECK_EQ(cmd.out_data_type, 0xfeedbeef);
  CHECK_EQ(cmd.data_len, 8);
  CHECK_EQ(data[0], 0);
  CHECK_EQ(data[1], 0xdeadbeef);
  CHECK_EQ(cmd.out_capabilities, 9);
  CHECK_EQ(cmd.out_max_pasid_log2, 0);
  cmd = (struct iommu_hw_info){.size = sizeof(cmd), .dev_id = clean.idev};
  CHECK_OK(ioctl(fd, IOMMU_GET_HW_INFO, &cmd));
  CHECK_EQ(cmd.out_capabilities, 8);
  cmd = (struct iommu_hw_info){.size = sizeof(cmd), .dev_id = pasid.idev};
  CHECK_OK(ioctl(fd, IOMMU_GET_HW_INFO, &cmd));
  CHECK_EQ(cmd.out_max_pasid_log2, 20);
  cmd = (struct iommu_hw_info){.size = sizeof(cmd), .flags = 1, .dev_id = plain.idev, .in_data_type = 1};
  CHECK_ERR(ioctl(fd, IOMMU_GET_HW_INFO, &cmd), EOPNOTSUPP);
}

TEST(Y09, "NO_DIRTY: no dirty HWPT for it, and none that tracks dirty pages can be attached: EINVAL") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  struct mock plain, clean, other;
  uint32_t id, pt;
  REQUIRE(CHECK_OK(mock_domain_flags(fd, ioas, 0, &plain)));
  REQUIRE(CHECK_OK(mock_domain_flags(fd, ioas, NO_DIRTY, &clean)));
  CHECK_ERR(hwpt_alloc(fd, clean.idev, ioas, 2, &id), EOPNOTSUPP);
  REQUIRE(CHECK_OK(hwpt_alloc(fd, plain.idev, ioas, 2, &id)));
  pt = id;
  CHECK_ERR(mock_replace(fd, clean.stdev, &pt), EINVAL);
  CHECK_ERR(mock_domain_flags(fd, id, NO_DIRTY, &other), EINVAL);
  pt = id;
  CHECK_OK(mock_replace(fd, plain.stdev, &pt));
  pt = clean.hwpt;
  CHECK_OK(mock_replace(fd, plain.stdev, &pt));
  CHECK_OK(destroy(fd, id));
}

TEST(Y10, "DIRTY: marks what is said, counts also what is not mapped; not on a domain that does not track") {
  const struct world w = with_mock();
  uint8_t set[2] = {0x05, 0x80}, got[2] = {0};
  struct test_cmd cmd = {.op = OP_DIRTY, .u.dirty = {0, APERTURE, 16 * MOCK_PAGE, MOCK_PAGE, (uintptr_t)set, 0}};
  struct iommu_hwpt_get_dirty_bitmap get = {
      .size = sizeof(get), .iova = APERTURE, .length = 8 * MOCK_PAGE, .page_size = MOCK_PAGE, .data = (uintptr_t)got};
  struct iommu_hwpt_set_dirty_tracking track = {.size = sizeof(track), .flags = 1};
  uint32_t id;
  REQUIRE(CHECK_OK(hwpt_alloc(w.fd, w.mock.idev, w.ioas, 2, &id)));
  REQUIRE(CHECK_OK(map_fixed(w.fd, w.ioas, pages(4 * PAGE), 4 * PAGE, APERTURE)));
  cmd.id = id;
  CHECK_ERR(test_ioctl(w.fd, &cmd), EINVAL); /* not switched on */
  track.hwpt_id = get.hwpt_id = id;
  REQUIRE(CHECK_OK(ioctl(w.fd, IOMMU_HWPT_SET_DIRTY_TRACKING, &track)));
  CHECK_OK(test_ioctl(w.fd, &cmd));
  CHECK_EQ(cmd.u.dirty.nr_dirty, 3);
  CHECK_OK(ioctl(w.fd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get));
  CHECK_EQ(got[0], 0x05);
  got[0] = 0;
  CHECK_OK(ioctl(w.fd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get));
  CHECK_EQ(got[0], 0);
  cmd.u.dirty.page_size = 0;
  CHECK_ERR(test_ioctl(w.fd, &cmd), EINVAL);
  cmd.u.dirty.page_size = MOCK_PAGE;
  cmd.u.dirty.iova = APERTURE + 1;
  CHECK_ERR(test_ioctl(w.fd, &cmd), EINVAL);
  cmd.u.dirty.iova = APERTURE;
  cmd.u.dirty.uptr = (uintptr_t)no_page();
  CHECK_ERR(test_ioctl(w.fd, &cmd), EFAULT);
  cmd.u.dirty.uptr = 0;
  CHECK_ERR(test_ioctl(w.fd, &cmd), EINVAL);
  cmd.u.dirty.uptr = (uintptr_t)set;
  cmd.id = w.ioas;
  CHECK_ERR(test_ioctl(w.fd, &cmd), ENOENT);
}

SECTION("iommufd-core 5.5");

TEST_ROWS(B25, "B27 B28 B29",
          "PASIDs: attach, replace, detach and check; only HWPTs made for them, and 1024 fails every second time") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  struct mock m;
  uint32_t a, b, pt, rid;
  REQUIRE(CHECK_OK(mock_domain_flags(fd, ioas, WITH_PASID, &m)));
  REQUIRE(CHECK_OK(hwpt_alloc(fd, m.idev, ioas, 8, &a)));
  REQUIRE(CHECK_OK(hwpt_alloc(fd, m.idev, ioas, 8, &b)));
  CHECK_OK(word_op(fd, OP_PASID_DETACH, m.stdev, 7, 0)); /* nothing there: fine */
  pt = a;
  CHECK_ERR(pasid_attach(fd, m.stdev, 7, &pt), EINVAL); /* the RID is on a HWPT that is not for PASIDs */
  rid = a;
  REQUIRE(CHECK_OK(mock_replace(fd, m.stdev, &rid)));
  pt = ioas;
  CHECK_ERR(pasid_attach(fd, m.stdev, 7, &pt), EINVAL);
  pt = 99;
  CHECK_ERR(pasid_attach(fd, m.stdev, 7, &pt), ENOENT);
  pt = a;
  CHECK_ERR(pasid_attach(fd, m.idev, 7, &pt), ENOENT);
  CHECK_ERR(pasid_replace(fd, m.stdev, 7, a), EINVAL);
  pt = a;
  CHECK_ERR(pasid_attach(fd, m.stdev, 1u << 20, &pt), EINVAL);
  CHECK_OK(word_op(fd, OP_PASID_CHECK_HWPT, m.stdev, 7, 0));
  pt = a;
  CHECK_OK(pasid_attach(fd, m.stdev, 7, &pt));
  CHECK_EQ(pt, a);
  CHECK_ERR(pasid_attach(fd, m.stdev, 7, &pt), EBUSY);
  CHECK_OK(word_op(fd, OP_PASID_CHECK_HWPT, m.stdev, 7, a));
  CHECK_ERR(word_op(fd, OP_PASID_CHECK_HWPT, m.stdev, 7, b), EINVAL);
  CHECK_ERR(word_op(fd, OP_PASID_CHECK_HWPT, m.stdev, 7, 0), EINVAL);
  CHECK_ERR(word_op(fd, OP_PASID_CHECK_HWPT, m.stdev, 7, 99), ENOENT);
  CHECK_ERR(word_op(fd, OP_PASID_CHECK_HWPT, m.stdev, 7, ioas), EINVAL);
  CHECK_OK(pasid_replace(fd, m.stdev, 7, b));
  CHECK_OK(word_op(fd, OP_PASID_CHECK_HWPT, m.stdev, 7, b));
  pt = ioas;
  CHECK_ERR(mock_replace(fd, m.stdev, &pt), EINVAL); /* while a PASID is attached */
  pt = a;
  CHECK_OK(pasid_attach(fd, m.stdev, 1024, &pt));
  CHECK_ERR(pasid_replace(fd, m.stdev, 1024, b), ENOMEM);
  CHECK_OK(word_op(fd, OP_PASID_CHECK_HWPT, m.stdev, 1024, a));
  CHECK_OK(pasid_replace(fd, m.stdev, 1024, b));
  CHECK_OK(word_op(fd, OP_PASID_CHECK_HWPT, m.stdev, 1024, b));
  CHECK_OK(word_op(fd, OP_PASID_DETACH, m.stdev, 7, 0));
  CHECK_OK(word_op(fd, OP_PASID_CHECK_HWPT, m.stdev, 7, 0));
  CHECK_OK(destroy(fd, m.stdev)); /* detaches 1024 */
  CHECK_OK(destroy(fd, a));
  CHECK_OK(destroy(fd, b));
}

SECTION("selftest-abi 3");

TEST(Y12, "cells and triggers: no device ENOENT; another value or number EINVAL; a fault that nobody takes is fine") {
  const struct world w = with_mock();
  CHECK_ERR(word_op(w.fd, OP_CHECK_CACHE, w.ioas, 0, 0xbaddad), ENOENT);
  CHECK_OK(word_op(w.fd, OP_CHECK_CACHE, w.mock.idev, 0, 0xbaddad));
  CHECK_OK(word_op(w.fd, OP_CHECK_CACHE, w.mock.idev, 3, 0xbaddad));
  CHECK_ERR(word_op(w.fd, OP_CHECK_CACHE, w.mock.idev, 4, 0xbaddad), EINVAL);
  CHECK_ERR(word_op(w.fd, OP_CHECK_CACHE, w.mock.idev, 0, 0), EINVAL);
  CHECK_ERR(word_op(w.fd, OP_CHECK_IOTLB, w.mock.hwpt, 0, 0), ENOENT);
  CHECK_ERR(word_op(w.fd, OP_TRIGGER_IOPF, 0, w.ioas, 0), ENOENT);
  CHECK_OK(word_op(w.fd, OP_TRIGGER_IOPF, 0, w.mock.idev, 0));
  CHECK_ERR(word_op(w.fd, OP_TRIGGER_VEVENT, 0, w.ioas, 0), ENOENT);
  CHECK_ERR(word_op(w.fd, OP_TRIGGER_VEVENT, 0, w.mock.idev, 0), ENOENT);
}

SECTION("selftest-abi 5");

TEST(Y13, "huge pages off: entries of a page each; on: the largest that fit") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  struct iommu_option off = {.size = sizeof(off), .option_id = IOMMU_OPTION_HUGE_PAGES, .object_id = ioas};
  uint8_t* memory = pages(4 * PAGE);
  struct mock m;
  REQUIRE(CHECK_OK(ioctl(fd, IOMMU_OPTION, &off)));
  m = mock_domain(fd, ioas);
  CHECK_ERR(map_fixed(fd, ioas, memory, MOCK_PAGE, APERTURE), EINVAL);
  REQUIRE(CHECK_OK(map_fixed(fd, ioas, memory, 4 * PAGE, APERTURE)));
  CHECK_OK(check_map(fd, m.hwpt, APERTURE, 4 * PAGE, memory));
}

SECTION("selftest-abi 4");

TEST(Y14, "closing /dev/iommu takes mock devices along") {
  const int fd = open_test_iommufd(), other = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  uint8_t* memory = pages(PAGE);
  struct mock m;
  uint32_t id;
  REQUIRE(CHECK_OK(mock_domain_flags(fd, ioas, WITH_PASID, &m)));
  REQUIRE(CHECK_OK(hwpt_alloc(fd, m.idev, ioas, 8, &id)));
  mock_domain(fd, ioas);
  REQUIRE(CHECK_OK(mock_replace(fd, m.stdev, &id)));
  REQUIRE(CHECK_OK(pasid_attach(fd, m.stdev, 5, &id)));
  REQUIRE(CHECK_OK(map_fixed(fd, ioas, memory, PAGE, APERTURE)));
  CHECK_OK(check_refs(other, memory, PAGE, 1));
  close_kept(fd);
  CHECK_OK(check_refs(other, memory, PAGE, 0));
}

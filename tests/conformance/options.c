/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * OPTION, CHANGE_PROCESS and VFIO_IOAS (spec iommufd-core 3.9 to 3.11, rows O, P and V of 7.7). O05 is in capabilities.c,
 * what CHANGE_PROCESS moves in memlock.c.
 */
#define _GNU_SOURCE
#include "uapi.h"

enum { SET = IOMMU_OPTION_OP_SET, GET = IOMMU_OPTION_OP_GET };

static int option(int iommufd, uint32_t id, uint16_t op, uint32_t object, uint64_t* value) {
  struct iommu_option cmd = {.size = sizeof(cmd), .option_id = id, .op = op, .object_id = object, .val64 = *value};
  const int r = ioctl(iommufd, IOMMU_OPTION, &cmd);
  *value = cmd.val64;
  return r;
}

static int limit_mode(int iommufd, uint16_t op, uint64_t value) {
  return option(iommufd, IOMMU_OPTION_RLIMIT_MODE, op, 0, &value);
}

static int huge_pages(int iommufd, uint16_t op, uint32_t ioas, uint64_t value) {
  return option(iommufd, IOMMU_OPTION_HUGE_PAGES, op, ioas, &value);
}

static uint64_t read_option(int iommufd, uint32_t id, uint32_t object) {
  uint64_t value = 0x5a;
  REQUIRE(CHECK_OK(option(iommufd, id, GET, object, &value)));
  return value;
}

SECTION("iommufd-core 3.9");

TEST_ROWS(O01, "O02", "OPTION: reserved: EOPNOTSUPP; unknown option: EOPNOTSUPP") {
  const int iommufd = open_iommufd();
  struct iommu_option cmd = {.size = sizeof(cmd), .op = GET, .__reserved = 1};
  uint64_t value = 0;
  CHECK_ERR(ioctl(iommufd, IOMMU_OPTION, &cmd), EOPNOTSUPP);
  CHECK_ERR(option(iommufd, 2, GET, 0, &value), EOPNOTSUPP);
}

TEST(O03, "RLIMIT_MODE with an object: EOPNOTSUPP") {
  uint64_t value = 0;
  CHECK_ERR(option(open_iommufd(), IOMMU_OPTION_RLIMIT_MODE, GET, 5, &value), EOPNOTSUPP);
}

TEST(O04, "RLIMIT_MODE of a fresh context is 0") {
  CHECK_EQ(read_option(open_iommufd(), IOMMU_OPTION_RLIMIT_MODE, 0), 0);
}

TEST(O04v, "RLIMIT_MODE of a context of /dev/vfio/vfio is 1, when that is an iommufd") {
  const int container = keep(open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC));
  struct iommu_option cmd = {.size = sizeof(cmd), .option_id = IOMMU_OPTION_RLIMIT_MODE, .op = GET, .val64 = 7};
  if (container < 0) SKIP("no /dev/vfio/vfio: %s", errno_text(errno));
  if (ioctl(container, IOMMU_OPTION, &cmd) != 0 && errno != EFAULT) SKIP("it is a container of VFIO itself");
  CHECK_EQ(cmd.val64, 1);
}

TEST(O06, "RLIMIT_MODE SET with an object present: EBUSY, before the value") {
  const int iommufd = open_iommufd();
  ioas_alloc(iommufd);
  CHECK_ERR(limit_mode(iommufd, SET, 5), EBUSY);
}

TEST_ROWS(O07, "O08 O10", "RLIMIT_MODE SET 2: EINVAL; SET 1 and GET: 1; an unknown operation: EOPNOTSUPP") {
  const int iommufd = open_iommufd();
  CHECK_ERR(limit_mode(iommufd, SET, 2), EINVAL);
  CHECK_OK(limit_mode(iommufd, SET, 1));
  CHECK_EQ(read_option(iommufd, IOMMU_OPTION_RLIMIT_MODE, 0), 1);
  CHECK_ERR(limit_mode(iommufd, 2, 0), EOPNOTSUPP);
  CHECK_OK(limit_mode(iommufd, SET, 0));
  CHECK_EQ(read_option(iommufd, IOMMU_OPTION_RLIMIT_MODE, 0), 0);
}

TEST(O09, "RLIMIT_MODE SET after an IOAS came and went: ok") {
  const int iommufd = open_iommufd();
  REQUIRE(CHECK_OK(destroy(iommufd, ioas_alloc(iommufd))));
  CHECK_OK(limit_mode(iommufd, SET, 1));
}

TEST_ROWS(O11, "O12 O13 O14", "HUGE_PAGES: bad id ENOENT, default 1, value 2 EINVAL, unknown operation EOPNOTSUPP") {
  const int iommufd = open_iommufd();
  const uint32_t ioas = ioas_alloc(iommufd);
  CHECK_ERR(huge_pages(iommufd, GET, NO_ID, 0), ENOENT);
  CHECK_EQ(read_option(iommufd, IOMMU_OPTION_HUGE_PAGES, ioas), 1);
  CHECK_ERR(huge_pages(iommufd, SET, ioas, 2), EINVAL);
  CHECK_ERR(huge_pages(iommufd, 7, ioas, 0), EOPNOTSUPP);
}

TEST(O15, "HUGE_PAGES 0 with a misaligned area: EADDRINUSE, it stays 1") {
  const int iommufd = open_iommufd();
  const uint32_t ioas = ioas_alloc(iommufd);
  REQUIRE(CHECK_OK(map_fixed(iommufd, ioas, NULL, 100, 0x10000)));
  CHECK_ERR(huge_pages(iommufd, SET, ioas, 0), EADDRINUSE);
  CHECK_EQ(read_option(iommufd, IOMMU_OPTION_HUGE_PAGES, ioas), 1);
}

TEST_ROWS(O16, "O17",
          "HUGE_PAGES 0 with aligned areas: ok, the alignment is P; again: ok; back to 1: the alignment is 1") {
  const int iommufd = open_iommufd();
  const uint32_t ioas = ioas_alloc(iommufd);
  uint32_t num = 0;
  uint64_t alignment = 0;
  REQUIRE(CHECK_OK(map_fixed(iommufd, ioas, NULL, PAGE, 0x10000)));
  CHECK_OK(huge_pages(iommufd, SET, ioas, 0));
  CHECK_ERR(iova_ranges(iommufd, ioas, NULL, &num, &alignment), EMSGSIZE);
  CHECK_EQ(alignment, PAGE);
  CHECK_OK(huge_pages(iommufd, SET, ioas, 0)); /* O17 */
  CHECK_OK(huge_pages(iommufd, SET, ioas, 1));
  num = 0;
  CHECK_ERR(iova_ranges(iommufd, ioas, NULL, &num, &alignment), EMSGSIZE);
  CHECK_EQ(alignment, 1);
}

static void with_domain(enum kind kind) {
  const int iommufd = open_iommufd();
  const uint32_t ioas = ioas_alloc(iommufd);
  add_domain(iommufd, ioas, kind);
  CHECK_OK(huge_pages(iommufd, SET, ioas, 0)); /* O18 */
  CHECK_OK(huge_pages(iommufd, SET, ioas, 1));
  REQUIRE(CHECK_OK(map_fixed(iommufd, ioas, pages(PAGE), PAGE, 0x10000)));
  CHECK_ERR(huge_pages(iommufd, SET, ioas, 0), EINVAL); /* O19 */
  REQUIRE(CHECK_OK(unmap(iommufd, ioas, 0x10000, PAGE)));
  CHECK_OK(huge_pages(iommufd, SET, ioas, 0));
  REQUIRE(CHECK_OK(map_fixed(iommufd, ioas, pages(2 * PAGE), 2 * PAGE, 0x10000)));
  CHECK_OK(huge_pages(iommufd, SET, ioas, 0)); /* O20 */
  CHECK_OK(huge_pages(iommufd, SET, ioas, 1));
  CHECK_ERR(huge_pages(iommufd, SET, ioas, 0), EINVAL);
}

TEST_ROWS(O18, "O19 O20", "HUGE_PAGES with a domain: ok without areas, EINVAL with one") { with_domain(BEHIND_IOMMU); }
TEST(O18n, "the same with a noiommu HWPT") { with_domain(NOIOMMU); }

TEST(O21, "OPTION writes back the value and nothing else") {
  const int iommufd = open_iommufd();
  const uint32_t ioas = ioas_alloc(iommufd);
  uint8_t* p = pages(2 * PAGE);
  /* Only val64 lies in the page that can be written. */
  struct iommu_option* cmd = (struct iommu_option*)(void*)(p + PAGE - 16);
  *cmd =
      (struct iommu_option){.size = sizeof(*cmd), .option_id = IOMMU_OPTION_HUGE_PAGES, .op = GET, .object_id = ioas};
  REQUIRE(CHECK_OK(mprotect(p, PAGE, PROT_READ)));
  CHECK_OK(ioctl(iommufd, IOMMU_OPTION, cmd));
  CHECK_EQ(cmd->val64, 1);
}

TEST(O22, "OPTION whose value cannot be written back: EFAULT, and a SET stays set") {
  const int iommufd = open_iommufd();
  const uint32_t ioas = ioas_alloc(iommufd);
  const struct iommu_option cmd = {
      .size = sizeof(cmd), .option_id = IOMMU_OPTION_HUGE_PAGES, .op = SET, .object_id = ioas, .val64 = 0};
  CHECK_ERR(ioctl(iommufd, IOMMU_OPTION, read_only(&cmd, sizeof(cmd))), EFAULT);
  CHECK_EQ(read_option(iommufd, IOMMU_OPTION_HUGE_PAGES, ioas), 0);
}

/* ---- CHANGE_PROCESS ---------------------------------------------------------------------------------- */

SECTION("iommufd-core 3.10");

static int change_process(int iommufd) {
  struct iommu_ioas_change_process cmd = {.size = sizeof(cmd)};
  return ioctl(iommufd, IOMMU_IOAS_CHANGE_PROCESS, &cmd);
}

TEST_ROWS(P01, "P03", "CHANGE_PROCESS: reserved: EOPNOTSUPP; without mappings: ok") {
  const int iommufd = open_iommufd();
  struct iommu_ioas_change_process cmd = {.size = sizeof(cmd), .__reserved = 1};
  CHECK_ERR(ioctl(iommufd, IOMMU_IOAS_CHANGE_PROCESS, &cmd), EOPNOTSUPP);
  CHECK_OK(change_process(iommufd));
  ioas_alloc(iommufd);
  CHECK_OK(change_process(iommufd));
}

TEST(P02, "CHANGE_PROCESS with a mapping of memory by address, in whichever IOAS: EINVAL; of files: ok") {
  const int iommufd = open_iommufd();
  const uint32_t first = ioas_alloc(iommufd), second = ioas_alloc(iommufd);
  const int memfd = keep(memfd_create("change", 0));
  struct iommu_ioas_map_file file = {
      .size = sizeof(file), .flags = RW | FIXED, .ioas_id = first, .fd = memfd, .length = PAGE, .iova = 0x10000};
  REQUIRE(CHECK_OK(ftruncate(memfd, PAGE)));
  REQUIRE(CHECK_OK(ioctl(iommufd, IOMMU_IOAS_MAP_FILE, &file)));
  CHECK_OK(change_process(iommufd));
  add_domain(iommufd, first, BEHIND_IOMMU);
  CHECK_OK(change_process(iommufd));
  REQUIRE(CHECK_OK(map_fixed(iommufd, second, pages(PAGE), PAGE, 0x10000)));
  CHECK_ERR(change_process(iommufd), EINVAL);
  REQUIRE(CHECK_OK(unmap(iommufd, second, 0x10000, PAGE)));
  REQUIRE(CHECK_OK(copy_fixed(iommufd, RW, second, first, PAGE, 0x10000, 0x10000)));
  CHECK_OK(change_process(iommufd));
}

/* ---- VFIO_IOAS --------------------------------------------------------------------------------------- */

SECTION("iommufd-core 3.11");

static int vfio_ioas(int iommufd, uint16_t op, uint32_t* ioas) {
  struct iommu_vfio_ioas cmd = {.size = sizeof(cmd), .ioas_id = *ioas, .op = op};
  const int r = ioctl(iommufd, IOMMU_VFIO_IOAS, &cmd);
  *ioas = cmd.ioas_id;
  return r;
}

TEST_ROWS(V01, "V07", "VFIO_IOAS: reserved: EOPNOTSUPP; unknown operation: EOPNOTSUPP") {
  const int iommufd = open_iommufd();
  struct iommu_vfio_ioas cmd = {.size = sizeof(cmd), .op = IOMMU_VFIO_IOAS_CLEAR, .__reserved = 1};
  uint32_t ioas = 0;
  CHECK_ERR(ioctl(iommufd, IOMMU_VFIO_IOAS, &cmd), EOPNOTSUPP);
  CHECK_ERR(vfio_ioas(iommufd, 3, &ioas), EOPNOTSUPP);
}

TEST_ROWS(V02, "V06", "VFIO_IOAS GET without one: ENODEV; CLEAR, with one and without: ok, and it is gone") {
  const int iommufd = open_iommufd();
  uint32_t ioas = NO_ID;
  CHECK_ERR(vfio_ioas(iommufd, IOMMU_VFIO_IOAS_GET, &ioas), ENODEV);
  CHECK_EQ(ioas, NO_ID);
  CHECK_OK(vfio_ioas(iommufd, IOMMU_VFIO_IOAS_CLEAR, &ioas));
  ioas = ioas_alloc(iommufd);
  REQUIRE(CHECK_OK(vfio_ioas(iommufd, IOMMU_VFIO_IOAS_SET, &ioas)));
  CHECK_OK(vfio_ioas(iommufd, IOMMU_VFIO_IOAS_CLEAR, &ioas));
  CHECK_OK(vfio_ioas(iommufd, IOMMU_VFIO_IOAS_CLEAR, &ioas));
  CHECK_ERR(vfio_ioas(iommufd, IOMMU_VFIO_IOAS_GET, &ioas), ENODEV);
  CHECK_OK(destroy(iommufd, ioas)); /* CLEAR leaves the IOAS */
}

TEST(V03, "VFIO_IOAS SET of a missing id, of a device and of a HWPT: ENOENT, and the one before stays") {
  const int iommufd = open_iommufd();
  uint32_t ioas = ioas_alloc(iommufd), bad[] = {NO_ID, 0, 0, 0}, got = 0;
  const struct vdev d = open_and_bind(BEHIND_IOMMU, 0, iommufd);
  bad[2] = d.id;
  REQUIRE(CHECK_OK(hwpt_alloc(iommufd, d.id, ioas, 0, &bad[3])));
  REQUIRE(CHECK_OK(vfio_ioas(iommufd, IOMMU_VFIO_IOAS_SET, &ioas)));
  for (int i = 0; i < 4; i++) CHECK_ERR(vfio_ioas(iommufd, IOMMU_VFIO_IOAS_SET, &bad[i]), ENOENT);
  CHECK_OK(vfio_ioas(iommufd, IOMMU_VFIO_IOAS_GET, &got));
  CHECK_EQ(got, ioas);
}

TEST_ROWS(V04, "V05", "VFIO_IOAS SET and GET: the same id, also another one; after DESTROY: ENODEV") {
  const int iommufd = open_iommufd();
  uint32_t first = ioas_alloc(iommufd), ioas = ioas_alloc(iommufd), got = 0;
  REQUIRE(CHECK_OK(vfio_ioas(iommufd, IOMMU_VFIO_IOAS_SET, &first)));
  REQUIRE(CHECK_OK(vfio_ioas(iommufd, IOMMU_VFIO_IOAS_SET, &ioas)));
  CHECK_OK(vfio_ioas(iommufd, IOMMU_VFIO_IOAS_GET, &got));
  CHECK_EQ(got, ioas);
  CHECK_OK(destroy(iommufd, ioas)); /* V05 */
  CHECK_ERR(vfio_ioas(iommufd, IOMMU_VFIO_IOAS_GET, &got), ENODEV);
}

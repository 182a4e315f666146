/* SPDX-License-Identifier: BSD-3-Clause */
/* Fault injection into the calling thread: /proc/self/task/TID/fail-nth (spec selftest-abi 9 and 10.3). */
#define _GNU_SOURCE
#include "test_abi.h"

static int try_ioas_alloc(int fd) {
  struct iommu_ioas_alloc cmd = {.size = sizeof(cmd)};
  return ioctl(fd, IOMMU_IOAS_ALLOC, &cmd);
}

/* What is missing until the failure, or -1. */
static long points_left(int plan) {
  char text[32] = "";
  return pread(plan, text, sizeof(text) - 1, 0) > 0 ? atol(text) : -1;
}

static int open_plan(void) {
  char path[64];
  snprintf(path, sizeof(path), "/proc/self/task/%d/fail-nth", (int)getpid());
  const int plan = open(path, O_RDWR | O_CLOEXEC);
  if (plan < 0) SKIP("a kernel without fault injection");
  return keep(plan);
}

SECTION("selftest-abi 9");

TEST(F01, "fail-nth: the nth point of the thread fails, once, and the file says so") {
  const int fd = open_test_iommufd(), plan = open_plan();
  CHECK_EQ(points_left(plan), 0);
  REQUIRE(CHECK_EQ(pwrite(plan, "1", 1, 0), 1));
  CHECK_EQ(try_ioas_alloc(fd), -1);
  CHECK_EQ(points_left(plan), 0);
  CHECK_OK(try_ioas_alloc(fd));
  REQUIRE(CHECK_EQ(pwrite(plan, "100000", 6, 0), 6));
  CHECK_OK(try_ioas_alloc(fd));
  CHECK(points_left(plan) > 0 && points_left(plan) < 100000);
  REQUIRE(CHECK_EQ(pwrite(plan, "0", 1, 0), 1));
  CHECK_EQ(points_left(plan), 0);
  CHECK_OK(try_ioas_alloc(fd));
  CHECK_ERR(pwrite(plan, "many", 4, 0), EINVAL);
}

TEST(F02, "fail-nth: every point of a mapping in turn, and nothing is left of it") {
  const int fd = open_test_iommufd(), plan = open_plan();
  const uint32_t ioas = ioas_alloc(fd);
  uint8_t* memory = pages(4 * PAGE);
  unsigned failures = 0;
  mock_domain(fd, ioas);
  for (unsigned n = 1;; n++) {
    char text[16];
    const int length = snprintf(text, sizeof(text), "%u", n);
    REQUIRE(CHECK(n < 1000 && pwrite(plan, text, (size_t)length, 0) == length));
    const int result = map_fixed(fd, ioas, memory, 4 * PAGE, APERTURE);
    const bool struck = points_left(plan) == 0;
    REQUIRE(CHECK_EQ(pwrite(plan, "0", 1, 0), 1));
    if (!struck) {
      CHECK_OK(result);
      break;
    }
    if (result == 0) CHECK_OK(unmap(fd, ioas, APERTURE, 4 * PAGE));
    failures++;
  }
  CHECK(failures > 0);
  note("%u points", failures);
}

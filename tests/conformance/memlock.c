/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pinned memory is charged to RLIMIT_MEMLOCK of a process without CAP_IPC_LOCK (spec iommufd-core 4.4, rows M28, B14, C18).
 * The program gives up CAP_IPC_LOCK and lowers its own limit to 64 pages; a device that needs CAP_SYS_RAWIO is used only
 * when it can be opened.
 */
#define _GNU_SOURCE
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "uapi.h"

#define LIMIT 64u

__attribute__((constructor)) static void become_limited(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[2];
  const struct rlimit limit = {LIMIT * PAGE, LIMIT * PAGE};
  if (syscall(SYS_capget, &header, data) == 0) {
    for (int i = 0; i < 2; i++) data[i].inheritable = 0;
    data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective &= ~CAP_TO_MASK(CAP_IPC_LOCK);
    data[CAP_TO_INDEX(CAP_IPC_LOCK)].permitted &= ~CAP_TO_MASK(CAP_IPC_LOCK);
    if (syscall(SYS_capset, &header, data) != 0) perror("# capset");
  }
  if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0) perror("# setrlimit");
}

struct space {
  int iommufd;
  uint32_t ioas;
  struct vdev dev;
};

static struct space set_up(bool attached) {
  struct space s = {.iommufd = open_iommufd()};
  s.ioas = ioas_alloc(s.iommufd);
  s.dev = open_and_bind(BEHIND_IOMMU, 0, s.iommufd);
  if (attached) REQUIRE(CHECK_OK(attach_to(&s.dev, s.ioas)));
  return s;
}

TEST(L01, "without a domain nothing is pinned, so 200 pages map; attach is ENOMEM and changes nothing") {
  const struct space s = set_up(false);
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, pages(200 * PAGE), 200 * PAGE, 0x100000)));
  CHECK_ERR(attach_to(&s.dev, s.ioas), ENOMEM);
  REQUIRE(CHECK_OK(unmap(s.iommufd, s.ioas, 0x100000, 200 * PAGE)));
  CHECK_OK(attach_to(&s.dev, s.ioas));
  CHECK_OK(map_fixed(s.iommufd, s.ioas, pages(LIMIT * PAGE), LIMIT * PAGE, 0x100000));
}

TEST(L02, "65 pages: ENOMEM; 64: ok; then not one more byte; after unmap again") {
  const struct space s = set_up(true);
  uint8_t *memory = pages((LIMIT + 1) * PAGE), *more = pages(PAGE);
  CHECK_ERR(map_fixed(s.iommufd, s.ioas, memory, (LIMIT + 1) * PAGE, 0x100000), ENOMEM);
  CHECK_OK(map_fixed(s.iommufd, s.ioas, memory, LIMIT * PAGE, 0x100000));
  CHECK_ERR(map_fixed(s.iommufd, s.ioas, more, PAGE, 0x800000), ENOMEM);
  REQUIRE(CHECK_OK(unmap(s.iommufd, s.ioas, 0x100000, LIMIT * PAGE)));
  CHECK_OK(map_fixed(s.iommufd, s.ioas, more, PAGE, 0x800000));
}

TEST(L03, "copies share the charge, until the last one goes") {
  const struct space s = set_up(true);
  uint8_t *memory = pages(LIMIT * PAGE), *more = pages(PAGE);
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, memory, LIMIT * PAGE, 0x100000)));
  CHECK_OK(copy_fixed(s.iommufd, RW, s.ioas, s.ioas, LIMIT * PAGE, 0x100000, 0x800000));
  CHECK_OK(copy_fixed(s.iommufd, RW, s.ioas, s.ioas, 10 * PAGE, 0x100000, 0xa00000));
  REQUIRE(CHECK_OK(unmap(s.iommufd, s.ioas, 0x100000, LIMIT * PAGE)));
  CHECK_ERR(map_fixed(s.iommufd, s.ioas, more, PAGE, 0x100000), ENOMEM);
  REQUIRE(CHECK_OK(unmap(s.iommufd, s.ioas, 0x800000, LIMIT * PAGE)));
  CHECK_OK(map_fixed(s.iommufd, s.ioas, more, PAGE, 0x100000)); /* 10 pages of the copy, and this one */
  CHECK_ERR(map_fixed(s.iommufd, s.ioas, memory, (LIMIT - 10) * PAGE, 0x200000), ENOMEM);
  CHECK_OK(map_fixed(s.iommufd, s.ioas, memory, (LIMIT - 11) * PAGE, 0x200000));
}

TEST(L04, "the same memory mapped twice is charged twice") {
  const struct space s = set_up(true);
  uint8_t* memory = pages(LIMIT * PAGE);
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, memory, LIMIT / 2 * PAGE, 0x100000)));
  CHECK_OK(map_fixed(s.iommufd, s.ioas, memory, LIMIT / 2 * PAGE, 0x800000));
  CHECK_ERR(map_fixed(s.iommufd, s.ioas, memory, PAGE, 0xa00000), ENOMEM);
}

TEST(L05, "the charge is one of the user, so a second context meets the same limit") {
  const struct space s = set_up(true);
  uint8_t* memory = pages(LIMIT * PAGE);
  const int other = open_iommufd();
  struct vdev d = {.fd = -1};
  uint32_t ioas = ioas_alloc(other);
  if (!find_device(BEHIND_IOMMU, 1, &d)) SKIP("needs two devices behind an IOMMU");
  d = open_and_bind(BEHIND_IOMMU, 1, other);
  REQUIRE(CHECK_OK(attach_to(&d, ioas)));
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, memory, (LIMIT - 1) * PAGE, 0x100000)));
  CHECK_ERR(map_fixed(other, ioas, memory, 2 * PAGE, 0x100000), ENOMEM);
  CHECK_OK(map_fixed(other, ioas, memory, PAGE, 0x100000));
}

TEST(L06, "a mapping in two IOASes by COPY is charged once, and closing the device gives it back") {
  const struct space s = set_up(true);
  const uint32_t second = ioas_alloc(s.iommufd);
  uint8_t* memory = pages(LIMIT * PAGE);
  uint32_t hwpt;
  REQUIRE(CHECK_OK(hwpt_alloc(s.iommufd, s.dev.id, second, 0, &hwpt)));
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, memory, LIMIT * PAGE, 0x100000)));
  CHECK_OK(copy_fixed(s.iommufd, RW, second, s.ioas, LIMIT * PAGE, 0x100000, 0x100000));
  REQUIRE(CHECK_OK(destroy(s.iommufd, hwpt)));
  close_kept(s.dev.fd);
  REQUIRE(CHECK_OK(hwpt_alloc(s.iommufd, open_and_bind(BEHIND_IOMMU, 0, s.iommufd).id, second, 0, &hwpt)));
  CHECK_ERR(map_fixed(s.iommufd, second, memory, PAGE, 0x900000), ENOMEM);
}

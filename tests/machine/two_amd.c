/* SPDX-License-Identifier: BSD-3-Clause */
/* What a program sees of the machine in two_amd.yaml. */
#define _GNU_SOURCE
#include "../conformance/edu.h"

#define ORDINARY_LAST 0xfedfffffu

/* The last part of a link below a device: "7" for iommu_group, "ivhd0" for iommu. */
static void link_of(const char* bdf, const char* name, char* out, size_t room) {
  char path[PATH_MAX], target[PATH_MAX];
  ssize_t n;
  snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", bdf, name);
  n = readlink(path, target, sizeof(target) - 1);
  REQUIRE(CHECK(n > 0));
  target[n] = 0;
  snprintf(out, room, "%s", strrchr(target, '/') + 1);
}

static bool link_is(const char* bdf, const char* name, const char* want) {
  char text[PATH_MAX];
  link_of(bdf, name, text, sizeof(text));
  if (strcmp(text, want) == 0) return true;
  note("%s/%s: %s, want %s", bdf, name, text, want);
  return false;
}

/* The ranges of a fresh IOAS with the nth device behind an IOMMU; what a mapping at 16 MiB comes to there. */
static struct ranges ranges_behind(int nth, const char* bdf, int want) {
  const int iommufd = open_iommufd();
  const struct vdev d = open_and_bind(BEHIND_IOMMU, nth, iommufd);
  const uint32_t ioas = ioas_alloc(iommufd);
  uint32_t pt = ioas;
  REQUIRE(CHECK(strcmp(d.bdf, bdf) == 0));
  REQUIRE(CHECK_OK(attach(&d, &pt)));
  CHECK_ERR(map_fixed(iommufd, ioas, pages(PAGE), PAGE, 0x1000000), want);
  return all_ranges(iommufd, ioas);
}

SECTION("machine.md");

TEST(T01, "devices are behind the IOMMU that they name") {
  CHECK(link_is("0000:01:00.0", "iommu", "ivhd0"));
  CHECK(link_is("0000:02:00.0", "iommu", "ivhd0"));
  CHECK(link_is("0000:03:00.0", "iommu", "ivhd1"));
  CHECK(link_is("0000:04:00.0", "iommu", "ivhd1"));
  CHECK_OK(access("/sys/class/iommu/ivhd1", F_OK));
  CHECK_ERR(access("/sys/class/iommu/ivhd2", F_OK), ENOENT);
  CHECK_ERR(access("/sys/bus/pci/devices/0000:06:00.0/iommu", F_OK), ENOENT);
}

TEST(T02, "groups are as the file says") {
  CHECK(link_is("0000:01:00.0", "iommu_group", "0"));
  CHECK(link_is("0000:02:00.0", "iommu_group", "0"));
  CHECK(link_is("0000:03:00.0", "iommu_group", "7"));
  CHECK(link_is("0000:04:00.0", "iommu_group", "7"));
  CHECK(link_is("0000:05:00.0", "iommu_group", "1"));
  CHECK(link_is("0000:06:00.0", "iommu_group", "2"));
  CHECK_OK(access("/dev/vfio/7", F_OK));
  CHECK_OK(access("/dev/vfio/noiommu-2", F_OK));
}

TEST(T03, "a group belongs to one context: its other device cannot be bound by another") {
  const int mine = open_iommufd(), other = open_iommufd();
  open_and_bind(BEHIND_IOMMU, 2, mine);
  struct vdev d = open_nth(BEHIND_IOMMU, 3);
  CHECK_ERR(bind_to(&d, other), EPERM);
  CHECK_OK(bind_to(&d, mine));
}

TEST(T04, "reserved ranges are in sysfs, by start, with their types") {
  char text[1024];
  REQUIRE(CHECK(read_text("/sys/kernel/iommu_groups/0/reserved_regions", text, sizeof(text))));
  CHECK(strcmp(text,
               "0x0000000001000000 0x00000000010fffff direct\n"
               "0x0000000002000000 0x00000000020fffff reserved\n"
               "0x00000000fee00000 0x00000000feefffff msi\n"
               "0x000000fd00000000 0x000000ffffffffff reserved") == 0);
  REQUIRE(CHECK(read_text("/sys/kernel/iommu_groups/7/reserved_regions", text, sizeof(text))));
  CHECK(strcmp(text,
               "0x00000000fee00000 0x00000000feefffff msi\n"
               "0x000000fd00000000 0x000000ffffffffff reserved") == 0); /* HyperTransport's */
}

TEST(T05, "IOVA_RANGES leaves them out, and a mapping there is refused") {
  const struct ranges left = ranges_behind(0, "0000:01:00.0", EINVAL), right = ranges_behind(2, "0000:03:00.0", 0);
  REQUIRE(CHECK_EQ(left.num, 5));
  CHECK_EQ(left.at[0].start, 0);
  CHECK_EQ(left.at[0].last, 0xffffffu);
  CHECK_EQ(left.at[1].start, 0x1100000u);
  CHECK_EQ(left.at[1].last, 0x1ffffffu);
  CHECK_EQ(left.at[2].start, 0x2100000u);
  CHECK_EQ(left.at[2].last, ORDINARY_LAST);
  REQUIRE(CHECK_EQ(right.num, 3));
  CHECK_EQ(right.at[0].start, 0);
  CHECK_EQ(right.at[0].last, ORDINARY_LAST);
}

TEST(T06, "DMA goes through each IOMMU, and without one") {
  const int iommufd = open_iommufd();
  uint8_t* p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(CHECK(p != MAP_FAILED));
  for (int nth = 0; nth < 4; nth += 2) {
    const struct edu e = edu_open(BEHIND_IOMMU, nth, iommufd);
    const uint32_t ioas = ioas_alloc(iommufd);
    uint32_t pt = ioas;
    REQUIRE(CHECK_OK(attach(&e.dev, &pt)));
    REQUIRE(CHECK_OK(map_fixed(iommufd, ioas, p, 2 * PAGE, 0x10000)));
    fill(p, PAGE, (unsigned)nth);
    memset(p + PAGE, 0, PAGE);
    edu_load(&e, 0x10000, PAGE);
    edu_store(&e, 0x10000 + PAGE, PAGE);
    CHECK(filled(p + PAGE, PAGE, (unsigned)nth));
  }
  struct vdev d;
  CHECK(find_device(NOIOMMU, 0, &d) && strcmp(d.bdf, "0000:06:00.0") == 0);
}

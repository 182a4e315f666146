/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An open of /dev/iommu as a VFIO type1 container (spec iommufd-core 6 and 4.7, rows T of 7.9). GET_INFO is in
 * vfio_compat_info.c; rows that need a group (T28 to T30: group.c), an access (T22d) or a dma-buf (T23) are elsewhere. Some rows need
 * an edu device behind an IOMMU.
 */
#define _GNU_SOURCE
#include "container.h"
#include "edu.h"

#define BASE 0x20000u

static int check_extension(int iommufd, unsigned long n) { return ioctl(iommufd, VFIO_CHECK_EXTENSION, n); }
static int set_iommu(int iommufd, unsigned long type) { return ioctl(iommufd, VFIO_SET_IOMMU, type); }

static struct container open_version1(void) {
  const struct container c = open_container();
  REQUIRE(CHECK_OK(set_iommu(c.iommufd, VFIO_TYPE1_IOMMU)));
  return c;
}

static int map_flags(int iommufd, uint32_t flags, uint64_t va, uint64_t iova, uint64_t size) {
  struct vfio_iommu_type1_dma_map cmd = {.argsz = sizeof(cmd), .flags = flags, .vaddr = va, .iova = iova, .size = size};
  return ioctl(iommufd, VFIO_IOMMU_MAP_DMA, &cmd);
}

static int map_dma(int iommufd, const void* memory, uint64_t iova, uint64_t size) {
  return map_flags(iommufd, VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE, (uintptr_t)memory, iova, size);
}

/* What UNMAP_DMA left in `size`, or UNTOUCHED when the struct was not written back. */
#define UNTOUCHED 0x5a5a5a5a5a5a5000u
static uint64_t size_after;

static int unmap_full_dma(int iommufd, uint32_t argsz, uint32_t flags, uint64_t iova, uint64_t size) {
  /* argsz and flags are inputs only, so a value that nobody asked for shows that they were written back. */
  struct vfio_iommu_type1_dma_unmap cmd = {.argsz = argsz, .flags = flags, .iova = iova, .size = size};
  const int r = ioctl(iommufd, VFIO_IOMMU_UNMAP_DMA, &cmd), saw = errno;
  size_after = cmd.size == size ? UNTOUCHED : cmd.size;
  errno = saw;
  return r;
}

static int unmap_dma(int iommufd, uint64_t iova, uint64_t size) { return unmap_full_dma(iommufd, 24, 0, iova, size); }
static int unmap_all(int iommufd) { return unmap_full_dma(iommufd, 24, VFIO_DMA_UNMAP_FLAG_ALL, 0, 0); }

/* ---- extensions and types ---------------------------------------------------------------------------- */

SECTION("iommufd-core 6.2");

TEST(T01, "GET_API_VERSION is 0") { CHECK_EQ(ioctl(open_iommufd(), VFIO_GET_API_VERSION), 0); }

TEST(T02, "CHECK_EXTENSION without a compat IOAS; ENODEV for DMA_CC alone") {
  const int iommufd = open_iommufd();
  const int want[] = {0, 1, 0, 1, -1, 0, 0, 0, -2, 1, 0, 0};
  for (unsigned i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
    const int r = check_extension(iommufd, i);
    if (want[i] == -1) {
      CHECK_EQ(r, -1);
      CHECK_EQ(errno, ENODEV);
    } else if (want[i] != -2 || simulated()) { /* NOIOMMU depends on how the kernel was built */
      if (!CHECK_EQ(r, want[i] == -2 ? 1 : want[i])) note("extension %u", i);
    }
  }
  CHECK_EQ(check_extension(iommufd, 0x100000001), 0);
}

TEST(T03, "CHECK_EXTENSION(DMA_CC): 1 without a HWPT; what the page tables do with one") {
  const struct container c = open_container();
  CHECK_EQ(check_extension(c.iommufd, VFIO_DMA_CC_IOMMU), 1);
  add_domain(c.iommufd, c.ioas, BEHIND_IOMMU);
  CHECK_EQ(check_extension(c.iommufd, VFIO_DMA_CC_IOMMU), 1);
  add_domain(c.iommufd, c.ioas, NOIOMMU);
  CHECK_EQ(check_extension(c.iommufd, VFIO_DMA_CC_IOMMU), 0);
}

SECTION("iommufd-core 6.3");

TEST(T04, "SET_IOMMU without a compat IOAS: ENODEV for 1 and 3") {
  const int iommufd = open_iommufd();
  CHECK_ERR(set_iommu(iommufd, VFIO_TYPE1_IOMMU), ENODEV);
  CHECK_ERR(set_iommu(iommufd, VFIO_TYPE1v2_IOMMU), ENODEV);
}

TEST(T05, "SET_IOMMU of other types: EINVAL, with and without a compat IOAS; the whole word counts") {
  const int fds[] = {open_iommufd(), open_container().iommufd};
  for (int i = 0; i < 2; i++) {
    CHECK_ERR(set_iommu(fds[i], 0), EINVAL);
    CHECK_ERR(set_iommu(fds[i], 2), EINVAL);
    CHECK_ERR(set_iommu(fds[i], 8), EINVAL);
    CHECK_ERR(set_iommu(fds[i], 0x100000003), EINVAL);
  }
}

static uint64_t huge_pages(const struct container* c) {
  struct iommu_option cmd = {.size = sizeof(cmd),
                             .option_id = IOMMU_OPTION_HUGE_PAGES,
                             .op = IOMMU_OPTION_OP_GET,
                             .object_id = c->ioas,
                             .val64 = 7};
  REQUIRE(CHECK_OK(ioctl(c->iommufd, IOMMU_OPTION, &cmd)));
  return cmd.val64;
}

TEST(T06, "SET_IOMMU 3, 1, 3: version 1 turns large pages off, version 2 does not turn them on") {
  const struct container c = open_container();
  CHECK_OK(set_iommu(c.iommufd, VFIO_TYPE1v2_IOMMU));
  CHECK_EQ(huge_pages(&c), 1);
  CHECK_OK(set_iommu(c.iommufd, VFIO_TYPE1_IOMMU));
  CHECK_EQ(huge_pages(&c), 0);
  CHECK_OK(set_iommu(c.iommufd, VFIO_TYPE1v2_IOMMU));
  CHECK_EQ(huge_pages(&c), 0);
}

TEST(T07, "SET_IOMMU 1 with a domain and mappings: EINVAL; once it is done, again: ok") {
  const struct container c = open_container();
  add_domain(c.iommufd, c.ioas, BEHIND_IOMMU);
  REQUIRE(CHECK_OK(map_dma(c.iommufd, pages(PAGE), BASE, PAGE)));
  CHECK_ERR(set_iommu(c.iommufd, VFIO_TYPE1_IOMMU), EINVAL);
  CHECK_OK(set_iommu(c.iommufd, VFIO_TYPE1v2_IOMMU));
  REQUIRE(CHECK_OK(unmap_all(c.iommufd)));
  CHECK_OK(set_iommu(c.iommufd, VFIO_TYPE1_IOMMU));
  REQUIRE(CHECK_OK(map_dma(c.iommufd, pages(PAGE), BASE, PAGE)));
  CHECK_OK(set_iommu(c.iommufd, VFIO_TYPE1_IOMMU));
}

TEST(T08, "SET_IOMMU 1 with a misaligned mapping and no domain: EADDRINUSE") {
  const struct container c = open_container();
  REQUIRE(CHECK_OK(map_dma(c.iommufd, pages(PAGE), BASE, 100)));
  CHECK_ERR(set_iommu(c.iommufd, VFIO_TYPE1_IOMMU), EADDRINUSE);
  CHECK_EQ(huge_pages(&c), 1);
}

/* ---- MAP_DMA ----------------------------------------------------------------------------------------- */

SECTION("iommufd-core 6.4");

TEST_ROWS(T09, "T10", "MAP_DMA: EFAULT, then EINVAL for argsz and flags, then ENODEV") {
  const int iommufd = open_iommufd();
  struct vfio_iommu_type1_dma_map cmd = {.argsz = 31};
  uint8_t* edge = pages(2 * PAGE);
  CHECK_ERR(ioctl(iommufd, VFIO_IOMMU_MAP_DMA, no_page()), EFAULT);
  REQUIRE(CHECK_OK(mprotect(edge + PAGE, PAGE, PROT_NONE)));
  CHECK_ERR(ioctl(iommufd, VFIO_IOMMU_MAP_DMA, edge + PAGE - 31), EFAULT);
  CHECK_ERR(ioctl(iommufd, VFIO_IOMMU_MAP_DMA, &cmd), EINVAL);
  cmd = (struct vfio_iommu_type1_dma_map){.argsz = sizeof(cmd), .flags = 4};
  CHECK_ERR(ioctl(iommufd, VFIO_IOMMU_MAP_DMA, &cmd), EINVAL);
  CHECK_ERR(map_dma(iommufd, pages(PAGE), BASE, PAGE), ENODEV);
  CHECK_ERR(map_dma(iommufd, pages(PAGE), BASE, 0), ENODEV);
}

TEST(T11, "MAP_DMA with neither READ nor WRITE: ok without a domain, EINVAL with one; a larger argsz is accepted") {
  const struct container c = open_container();
  struct {
    struct vfio_iommu_type1_dma_map map;
    uint64_t tail;
  } cmd = {.map = {.argsz = sizeof(cmd), .vaddr = (uintptr_t)pages(PAGE), .iova = BASE, .size = PAGE}, .tail = 1};
  CHECK_OK(ioctl(c.iommufd, VFIO_IOMMU_MAP_DMA, &cmd));
  CHECK_OK(unmap_dma(c.iommufd, BASE, PAGE));
  add_domain(c.iommufd, c.ioas, BEHIND_IOMMU);
  CHECK_ERR(ioctl(c.iommufd, VFIO_IOMMU_MAP_DMA, &cmd), EINVAL);
  cmd.map.flags = VFIO_DMA_MAP_FLAG_READ;
  CHECK_OK(ioctl(c.iommufd, VFIO_IOMMU_MAP_DMA, &cmd));
}

TEST_ROWS(T12, "T13", "MAP_DMA over a mapping: EEXIST; size 0: EINVAL; then a wrapping vaddr and a bad one") {
  const struct container c = open_container();
  uint8_t* memory = pages(4 * PAGE);
  REQUIRE(CHECK_OK(map_dma(c.iommufd, memory, BASE, 2 * PAGE)));
  CHECK_ERR(map_dma(c.iommufd, memory, BASE, 2 * PAGE), EEXIST);
  CHECK_ERR(map_dma(c.iommufd, memory, BASE + PAGE, 2 * PAGE), EEXIST);
  CHECK_ERR(map_dma(c.iommufd, memory, 0x80000, 0), EINVAL);
  CHECK_ERR(map_flags(c.iommufd, 3, MAX - 10, 0x80000, 11), EOVERFLOW);
  CHECK_OK(map_flags(c.iommufd, 3, MAX - 11, 0x80000, 11));
  CHECK_OK(unmap_dma(c.iommufd, 0x80000, 11));
  add_domain(c.iommufd, c.ioas, BEHIND_IOMMU);
  CHECK_ERR(map_dma(c.iommufd, no_page(), 0x80000, PAGE), EFAULT);
  CHECK_ERR(map_dma(c.iommufd, memory, 0x80000, 100), EINVAL);
}

TEST(T14, "MAP_DMA at the end of the address space: EOVERFLOW past it; its last byte alone works") {
  const struct container c = open_container();
  uint8_t* memory = pages(PAGE);
  CHECK_ERR(map_dma(c.iommufd, memory, MAX, PAGE), EOVERFLOW);
  CHECK_OK(map_dma(c.iommufd, memory, MAX, 1));
  CHECK_OK(unmap_dma(c.iommufd, MAX, 1));
  CHECK_EQ(size_after, UNTOUCHED); /* 1 */
  CHECK_OK(map_dma(c.iommufd, memory, 0, PAGE));
}

/* ---- UNMAP_DMA, version 2 ---------------------------------------------------------------------------- */

SECTION("iommufd-core 6.5");

TEST(T15, "UNMAP_DMA: EFAULT, then EINVAL for argsz and flags, then ENODEV") {
  const int iommufd = open_iommufd();
  const struct container c = open_container();
  CHECK_ERR(ioctl(iommufd, VFIO_IOMMU_UNMAP_DMA, no_page()), EFAULT);
  CHECK_ERR(unmap_full_dma(iommufd, 23, 0, 0, PAGE), EINVAL);
  CHECK_ERR(unmap_full_dma(iommufd, 24, 1, 0, PAGE), EINVAL);
  CHECK_ERR(unmap_full_dma(iommufd, 24, 4, 0, PAGE), EINVAL);
  CHECK_ERR(unmap_dma(iommufd, 0, PAGE), ENODEV);
  CHECK_EQ(size_after, UNTOUCHED);
  CHECK_ERR(unmap_full_dma(c.iommufd, 23, 0, 0, PAGE), EINVAL);
}

TEST_ROWS(T16, "T17", "UNMAP_DMA of nothing: ok, size 0; size 0: EINVAL; a wrapping range: EOVERFLOW, size 0 written") {
  const struct container c = open_container();
  CHECK_OK(unmap_dma(c.iommufd, BASE, PAGE));
  CHECK_EQ(size_after, 0);
  CHECK_ERR(unmap_dma(c.iommufd, BASE, 0), EINVAL);
  CHECK_ERR(unmap_dma(c.iommufd, MAX, 2), EOVERFLOW);
  CHECK_EQ(size_after, 0);
}

TEST_ROWS(T18, "T19", "UNMAP_DMA ALL with an address or a size: EINVAL, struct as it was; ALL says how much") {
  const struct container c = open_container();
  uint8_t* memory = pages(3 * PAGE);
  REQUIRE(CHECK_OK(map_dma(c.iommufd, memory, BASE, 2 * PAGE)));
  REQUIRE(CHECK_OK(map_dma(c.iommufd, memory, 0x100000, PAGE)));
  CHECK_ERR(unmap_full_dma(c.iommufd, 24, VFIO_DMA_UNMAP_FLAG_ALL, BASE, 0), EINVAL);
  CHECK_EQ(size_after, UNTOUCHED);
  CHECK_ERR(unmap_full_dma(c.iommufd, 24, VFIO_DMA_UNMAP_FLAG_ALL, 0, PAGE), EINVAL);
  CHECK_EQ(size_after, UNTOUCHED);
  CHECK_OK(unmap_all(c.iommufd));
  CHECK_EQ(size_after, 3 * PAGE);
  CHECK_OK(unmap_all(c.iommufd));
  CHECK_EQ(size_after, UNTOUCHED); /* 0, as it was */
}

TEST(T20, "UNMAP_DMA of a part, version 2: ENOENT, size is what went before") {
  const struct container c = open_container();
  uint8_t* memory = pages(4 * PAGE);
  REQUIRE(CHECK_OK(map_dma(c.iommufd, memory, BASE, PAGE)));
  REQUIRE(CHECK_OK(map_dma(c.iommufd, memory, BASE + PAGE, 3 * PAGE)));
  CHECK_ERR(unmap_dma(c.iommufd, BASE, 2 * PAGE), ENOENT);
  CHECK_EQ(size_after, PAGE);
  CHECK_ERR(unmap_dma(c.iommufd, BASE + 2 * PAGE, PAGE), ENOENT);
  CHECK_EQ(size_after, 0);
  CHECK_OK(unmap_dma(c.iommufd, BASE, 16 * PAGE));
  CHECK_EQ(size_after, 3 * PAGE);
}

TEST(T20b, "UNMAP_DMA whose struct cannot be written: EFAULT, and the mapping is gone") {
  const struct container c = open_container();
  const struct vfio_iommu_type1_dma_unmap cmd = {.argsz = sizeof(cmd), .iova = BASE, .size = PAGE};
  REQUIRE(CHECK_OK(map_dma(c.iommufd, pages(PAGE), BASE, PAGE)));
  CHECK_ERR(ioctl(c.iommufd, VFIO_IOMMU_UNMAP_DMA, read_only(&cmd, sizeof(cmd))), EFAULT);
  CHECK_OK(map_dma(c.iommufd, pages(PAGE), BASE, PAGE));
}

/* ---- UNMAP_DMA, version 1 ---------------------------------------------------------------------------- */

SECTION("iommufd-core 6.5");

TEST(T21, "UNMAP_DMA of the middle page, version 1: ok, exactly that page") {
  const struct container c = open_version1();
  uint8_t* memory = pages(5 * PAGE);
  REQUIRE(CHECK_OK(map_dma(c.iommufd, memory, BASE, 5 * PAGE)));
  CHECK_OK(unmap_dma(c.iommufd, BASE + 2 * PAGE, PAGE));
  CHECK_EQ(size_after, UNTOUCHED); /* PAGE, as asked */
  CHECK_ERR(map_dma(c.iommufd, memory, BASE + PAGE, PAGE), EEXIST);
  CHECK_ERR(map_dma(c.iommufd, memory, BASE + 3 * PAGE, PAGE), EEXIST);
  CHECK_OK(map_dma(c.iommufd, memory, BASE + 2 * PAGE, PAGE));
  CHECK_OK(unmap_all(c.iommufd));
  CHECK_EQ(size_after, 5 * PAGE);
}

TEST(T21d, "the same with a device: the other pages stay where they were, the hole is a fault") {
  const struct container c = open_version1();
  const struct edu e = edu_open(BEHIND_IOMMU, 0, c.iommufd);
  uint8_t* memory = pages(8 * PAGE);
  REQUIRE(CHECK_OK(attach_to(&e.dev, c.ioas)));
  REQUIRE(CHECK_OK(map_dma(c.iommufd, memory, BASE, 8 * PAGE)));
  CHECK_OK(unmap_dma(c.iommufd, BASE + 3 * PAGE, 2 * PAGE));
  for (unsigned page = 0; page < 8; page++) {
    if (page == 3 || page == 4) continue;
    fill(memory + page * PAGE, 64, page);
    edu_load(&e, BASE + page * PAGE, 64);
    edu_store(&e, BASE + page * PAGE + 1024, 64);
    if (!CHECK(filled(memory + page * PAGE + 1024, 64, page))) note("page %u", page);
  }
  memset(memory + 3 * PAGE, 0, 2 * PAGE);
  edu_store(&e, BASE + 3 * PAGE, 64);
  CHECK_EQ(memory[3 * PAGE], 0);
  CHECK_OK(detach(&e.dev));
  REQUIRE(CHECK_OK(attach_to(&e.dev, c.ioas))); /* a new page table is filled from the parts */
  edu_load(&e, BASE + 5 * PAGE, 64);
  edu_store(&e, BASE + 7 * PAGE + 2048, 64);
  CHECK(filled(memory + 7 * PAGE + 2048, 64, 5));
  CHECK_OK(unmap_dma(c.iommufd, BASE, 8 * PAGE));
  CHECK_EQ(size_after, 6 * PAGE);
}

TEST(T22, "UNMAP_DMA at an address or with an end that is not a page's, version 1: EINVAL, struct as it was") {
  const struct container c = open_version1();
  REQUIRE(CHECK_OK(map_dma(c.iommufd, pages(4 * PAGE), BASE, 4 * PAGE)));
  CHECK_ERR(unmap_dma(c.iommufd, BASE + 100, PAGE), EINVAL);
  CHECK_EQ(size_after, UNTOUCHED);
  CHECK_ERR(unmap_dma(c.iommufd, BASE + PAGE, 100), EINVAL);
  CHECK_EQ(size_after, UNTOUCHED);
  CHECK_OK(unmap_dma(c.iommufd, BASE, 4 * PAGE));
}

TEST(T22b, "the first byte of a mapping counts as no place to cut (quirk Q15)") {
  const struct container c = open_version1();
  REQUIRE(CHECK_OK(map_dma(c.iommufd, pages(4 * PAGE), BASE, 4 * PAGE)));
  CHECK_ERR(unmap_dma(c.iommufd, BASE, 1), ENOENT);
  CHECK_EQ(size_after, 0);
  CHECK_ERR(unmap_dma(c.iommufd, BASE + 1, 0x10000), ENOENT);
  CHECK_EQ(size_after, 0);
  CHECK_ERR(unmap_dma(c.iommufd, BASE, 2), EINVAL);
  CHECK_EQ(size_after, UNTOUCHED);
  CHECK_ERR(unmap_dma(c.iommufd, BASE + PAGE, 1), EINVAL);
  CHECK_EQ(size_after, UNTOUCHED);
  CHECK_OK(unmap_dma(c.iommufd, BASE + 2 * PAGE, 0x10000));
  CHECK_EQ(size_after, 2 * PAGE);
}

TEST(T22c, "the cut at the end comes first and stays when the other fails (quirk Q17)") {
  const struct container c = open_version1();
  REQUIRE(CHECK_OK(map_dma(c.iommufd, pages(4 * PAGE), BASE, 4 * PAGE)));
  CHECK_ERR(unmap_dma(c.iommufd, BASE + PAGE / 2, PAGE + PAGE / 2), EINVAL);
  CHECK_EQ(size_after, UNTOUCHED);
  CHECK_OK(unmap(c.iommufd, c.ioas, BASE, 2 * PAGE));
  CHECK_OK(unmap(c.iommufd, c.ioas, BASE + 2 * PAGE, 2 * PAGE));
}

TEST(T22g, "version 1: the cuts come before the size is looked at, and stay") {
  const struct container c = open_version1();
  REQUIRE(CHECK_OK(map_dma(c.iommufd, pages(4 * PAGE), BASE, 4 * PAGE)));
  REQUIRE(CHECK_OK(map_dma(c.iommufd, pages(2 * PAGE), 0, 2 * PAGE)));
  CHECK_ERR(unmap_dma(c.iommufd, BASE + 2 * PAGE, 0), EINVAL);
  CHECK_OK(unmap(c.iommufd, c.ioas, BASE, 2 * PAGE));
  CHECK_OK(unmap(c.iommufd, c.ioas, BASE + 2 * PAGE, 2 * PAGE));
  CHECK_ERR(unmap_dma(c.iommufd, MAX - PAGE + 1, 2 * PAGE), EOVERFLOW); /* cut behind the first page of all */
  CHECK_EQ(size_after, 0);
  CHECK_OK(unmap(c.iommufd, c.ioas, 0, PAGE));
  CHECK_OK(unmap(c.iommufd, c.ioas, PAGE, PAGE));
}

TEST(T17e,
     "UNMAP_DMA that fails and whose struct cannot be written: EFAULT when it would be, its own errno otherwise") {
  const struct container c = open_container(), one = open_version1();
  struct vfio_iommu_type1_dma_unmap cmd = {.argsz = sizeof(cmd), .iova = BASE, .size = 0};
  CHECK_ERR(ioctl(c.iommufd, VFIO_IOMMU_UNMAP_DMA, read_only(&cmd, sizeof(cmd))), EFAULT);
  cmd.flags = VFIO_DMA_UNMAP_FLAG_ALL;
  CHECK_ERR(ioctl(c.iommufd, VFIO_IOMMU_UNMAP_DMA, read_only(&cmd, sizeof(cmd))), EINVAL);
  cmd = (struct vfio_iommu_type1_dma_unmap){.argsz = sizeof(cmd), .iova = BASE + 1, .size = PAGE};
  REQUIRE(CHECK_OK(map_dma(one.iommufd, pages(4 * PAGE), BASE, 4 * PAGE)));
  CHECK_ERR(ioctl(one.iommufd, VFIO_IOMMU_UNMAP_DMA, read_only(&cmd, sizeof(cmd))), EINVAL);
}

TEST(T22e, "version 1 splits what is mapped in files and copied from it, with a device behind it") {
  const struct container c = open_version1();
  const uint32_t other = ioas_alloc(c.iommufd);
  const int memfd = keep(memfd_create("split", 0));
  struct iommu_ioas_map_file file = {
      .size = sizeof(file), .flags = RW | FIXED, .ioas_id = c.ioas, .fd = memfd, .length = 4 * PAGE, .iova = BASE};
  add_domain(c.iommufd, c.ioas, BEHIND_IOMMU);
  REQUIRE(CHECK_OK(ftruncate(memfd, 4 * PAGE)));
  REQUIRE(CHECK_OK(ioctl(c.iommufd, IOMMU_IOAS_MAP_FILE, &file)));
  REQUIRE(CHECK_OK(copy_fixed(c.iommufd, RW, other, c.ioas, 4 * PAGE, BASE, BASE)));
  CHECK_OK(unmap_dma(c.iommufd, BASE + PAGE, PAGE));
  CHECK_OK(copy_fixed(c.iommufd, RW, c.ioas, c.ioas, 2 * PAGE, BASE + 2 * PAGE, 0x100000));
  CHECK_ERR(copy_fixed(c.iommufd, RW, c.ioas, c.ioas, 2 * PAGE, BASE, 0x200000), ENOENT);
  CHECK_ERR(unmap(c.iommufd, other, BASE, PAGE), ENOENT); /* the copy is one piece */
  CHECK_OK(unmap(c.iommufd, other, BASE, 4 * PAGE));
  CHECK_OK(unmap_all(c.iommufd));
  CHECK_EQ(size_after, 5 * PAGE);
}

TEST(T22f, "version 1: every page of a mapping in any order, twice as many mappings as pages before") {
  const struct container c = open_version1();
  const unsigned count = 64;
  add_domain(c.iommufd, c.ioas, BEHIND_IOMMU);
  REQUIRE(CHECK_OK(map_dma(c.iommufd, pages(count * PAGE), BASE, count * PAGE)));
  for (unsigned i = 0; i < count; i++) {
    const unsigned page = (i * 37 + 5) % count; /* 37 and 64 have no common factor */
    if (!CHECK_OK(unmap_dma(c.iommufd, BASE + page * PAGE, PAGE))) note("page %u", page);
  }
  CHECK_OK(unmap_full_dma(c.iommufd, 24, 0, BASE, count * PAGE));
  CHECK_EQ(size_after, 0);
}

/* ---- what is not there ------------------------------------------------------------------------------- */

SECTION("iommufd-core 6");

TEST(T27, "DIRTY_PAGES, ENABLE and unknown numbers: ENOTTY, the pointer is not looked at") {
  const struct container c = open_container();
  CHECK_ERR(ioctl(c.iommufd, VFIO_IOMMU_DIRTY_PAGES, no_page()), ENOTTY);
  CHECK_ERR(ioctl(c.iommufd, VFIO_IOMMU_ENABLE, no_page()), ENOTTY);
  CHECK_ERR(ioctl(c.iommufd, VFIO_GROUP_GET_STATUS, no_page()), ENOTTY);
  CHECK_ERR(ioctl(c.iommufd, _IO(VFIO_TYPE, VFIO_BASE + 27), no_page()), ENOTTY);
  CHECK_ERR(ioctl(c.iommufd, _IOW(VFIO_TYPE, VFIO_BASE, int), no_page()), ENOTTY); /* the whole word counts */
}

/* ---- the compat IOAS --------------------------------------------------------------------------------- */

SECTION("iommufd-core 6.1");

TEST(T31, "the commands follow VFIO_IOAS: another IOAS, and none after CLEAR or DESTROY") {
  const struct container c = open_container();
  const uint32_t second = ioas_alloc(c.iommufd);
  struct iommu_vfio_ioas clear = {.size = sizeof(clear), .op = IOMMU_VFIO_IOAS_CLEAR};
  uint8_t* memory = pages(PAGE);
  REQUIRE(CHECK_OK(map_dma(c.iommufd, memory, BASE, PAGE)));
  REQUIRE(CHECK_OK(set_compat(c.iommufd, second)));
  CHECK_OK(map_dma(c.iommufd, memory, BASE, PAGE));
  CHECK_OK(unmap(c.iommufd, c.ioas, BASE, PAGE));
  CHECK_OK(unmap(c.iommufd, second, BASE, PAGE));
  REQUIRE(CHECK_OK(destroy(c.iommufd, second)));
  CHECK_ERR(map_dma(c.iommufd, memory, BASE, PAGE), ENODEV);
  CHECK_ERR(check_extension(c.iommufd, VFIO_DMA_CC_IOMMU), ENODEV);
  REQUIRE(CHECK_OK(set_compat(c.iommufd, c.ioas)));
  REQUIRE(CHECK_OK(ioctl(c.iommufd, IOMMU_VFIO_IOAS, &clear)));
  CHECK_ERR(unmap_dma(c.iommufd, BASE, PAGE), ENODEV);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * BARs of which only parts can be mapped: VFIO_REGION_INFO_CAP_SPARSE_MMAP, alone and together with MSIX_MAPPABLE (spec vfio-device
 * 7, 8, 11). Drivers of some devices have them, vfio-pci has not (iommufd-user: mmap=sparse,msix=N). IOMMUFD_TEST_KIND: group.h.
 */
#define _GNU_SOURCE
#include "group.h"

#define AREAS 4

struct region {
  struct vfio_region_info info;
  _Alignas(8) char room[256];
};

/* Asks for `index` with room for `argsz` bytes. */
static struct region ask(const struct edu* e, uint32_t index, uint32_t argsz) {
  struct region r;
  memset(&r, 0x5a, sizeof(r));
  r.info.argsz = argsz;
  r.info.index = index;
  REQUIRE(CHECK_OK(ioctl(e->dev.fd, VFIO_DEVICE_GET_REGION_INFO, &r)));
  return r;
}

static const struct vfio_info_cap_header* header(const struct region* r, uint32_t offset) {
  REQUIRE(CHECK(offset >= sizeof(r->info) && offset % 8 == 0 && offset + 8 <= r->info.argsz));
  return (const void*)((const char*)r + offset);
}

/* A capability of the chain; null: there is none. */
static const void* find(const struct region* r, unsigned id) {
  if (!(r->info.flags & VFIO_REGION_INFO_FLAG_CAPS)) return NULL;
  for (uint32_t at = r->info.cap_offset; at != 0; at = header(r, at)->next)
    if (header(r, at)->id == id) return header(r, at);
  return NULL;
}

static struct edu opened(void) {
  const struct edu e = edu_open(kind(), 0, open_iommufd());
  const struct region r = ask(&e, 0, sizeof(struct region));
  if (!find(&r, VFIO_REGION_INFO_CAP_SPARSE_MMAP)) SKIP("all of BAR 0 can be mapped, or nothing");
  return e;
}

static int map_errno(const struct edu* e, uint64_t offset, size_t length) {
  void* p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, e->dev.fd, (off_t)offset);
  if (p == MAP_FAILED) return errno;
  CHECK_OK(munmap(p, length));
  return 0;
}

SECTION("vfio-device 8");

TEST(
    SP01,
    "the capability lists areas inside the BAR; without room argsz says what it takes, and nothing is written behind") {
  const struct edu e = opened();
  const struct region bare = ask(&e, 0, sizeof(bare.info)), full = ask(&e, 0, sizeof(full));
  const struct vfio_region_info_cap_sparse_mmap* sparse = find(&full, VFIO_REGION_INFO_CAP_SPARSE_MMAP);
  REQUIRE(CHECK(sparse != NULL));
  CHECK_EQ(full.info.flags & VFIO_REGION_INFO_FLAG_MMAP, VFIO_REGION_INFO_FLAG_MMAP);
  CHECK_EQ(bare.info.cap_offset, 0);
  CHECK_EQ(bare.info.flags, full.info.flags);
  CHECK_EQ(bare.info.argsz, sizeof(bare.info) + 16 + 16 * sparse->nr_areas);
  CHECK_EQ(bare.room[0], 0x5a);
  CHECK_EQ(sparse->header.version, 1);
  CHECK_EQ(sparse->header.next, 0);
  REQUIRE(CHECK(sparse->nr_areas > 0 && sparse->nr_areas <= AREAS));
  for (uint32_t i = 0; i < sparse->nr_areas; i++)
    CHECK(sparse->areas[i].size != 0 && sparse->areas[i].offset + sparse->areas[i].size <= full.info.size);
}

TEST(SP02, "two capabilities: argsz grows for both, one byte less than both is too little, the chain has both") {
  const struct edu e = opened();
  uint32_t bar = 0, needed;
  struct region r;
  for (; bar < 6; bar++) {
    r = ask(&e, bar, sizeof(r));
    if (find(&r, VFIO_REGION_INFO_CAP_MSIX_MAPPABLE)) break;
  }
  if (bar == 6) SKIP("no BAR with the table of MSI-X can be mapped");
  const struct vfio_region_info_cap_sparse_mmap* sparse = find(&r, VFIO_REGION_INFO_CAP_SPARSE_MMAP);
  const struct vfio_info_cap_header* msix = find(&r, VFIO_REGION_INFO_CAP_MSIX_MAPPABLE);
  REQUIRE(CHECK(sparse != NULL));
  needed = (uint32_t)sizeof(r.info) + 8 + 16 + 16 * sparse->nr_areas;
  CHECK(msix->next == 0 || sparse->header.next == 0);
  CHECK_EQ(r.info.argsz, sizeof(r)); /* what was enough stays */
  r = ask(&e, bar, sizeof(r.info));
  CHECK_EQ(r.info.argsz, needed);
  CHECK_EQ(r.info.cap_offset, 0);
  r = ask(&e, bar, needed - 1);
  CHECK_EQ(r.info.argsz, needed);
  CHECK_EQ(r.info.cap_offset, 0);
  CHECK_EQ(r.room[0], 0x5a);
  r = ask(&e, bar, needed);
  CHECK_EQ(r.info.argsz, needed);
  CHECK_EQ(r.info.cap_offset, sizeof(r.info));
  CHECK(find(&r, VFIO_REGION_INFO_CAP_MSIX_MAPPABLE) && find(&r, VFIO_REGION_INFO_CAP_SPARSE_MMAP));
  CHECK_EQ(r.room[needed - sizeof(r.info)], 0x5a);
}

SECTION("vfio-device 11");

TEST(SP03, "an area and each page of it can be mapped; what is outside, or reaches out, is EINVAL") {
  const struct edu e = opened();
  const struct region r = ask(&e, 0, sizeof(r));
  const struct vfio_region_info_cap_sparse_mmap* sparse = find(&r, VFIO_REGION_INFO_CAP_SPARSE_MMAP);
  uint64_t end = 0;
  for (uint32_t i = 0; i < sparse->nr_areas; i++) {
    const uint64_t at = sparse->areas[i].offset, size = sparse->areas[i].size;
    CHECK_EQ(map_errno(&e, r.info.offset + at, size), 0);
    CHECK_EQ(map_errno(&e, r.info.offset + at + size - PAGE, PAGE), 0);
    CHECK_EQ(map_errno(&e, r.info.offset + at, size + PAGE), EINVAL);
    if (at > end) CHECK_EQ(map_errno(&e, r.info.offset + end, PAGE), EINVAL);
    end = at + size;
  }
  CHECK_EQ(map_errno(&e, r.info.offset, r.info.size), EINVAL);
  if (end < r.info.size) CHECK_EQ(map_errno(&e, r.info.offset + end, PAGE), EINVAL);
  if (end < r.info.size) CHECK_EQ(map_errno(&e, r.info.offset + r.info.size - PAGE, PAGE), EINVAL);
}

TEST(SP04, "an area shows the registers; the rest is there for reads and writes") {
  const struct edu e = opened();
  uint32_t word = 1;
  volatile uint32_t* p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, e.dev.fd, (off_t)e.bar);
  REQUIRE(CHECK(p != MAP_FAILED));
  CHECK_EQ(p[0], 0x010000ed);
  edu_write4(&e, EDU_LIVENESS, 7);
  CHECK_EQ(p[EDU_LIVENESS / 4], (uint32_t)~7);
  CHECK_EQ(pread(e.dev.fd, &word, 4, (off_t)(e.bar + PAGE)), 4);
  CHECK_EQ(word, 0xffffffff); /* edu decodes nothing there */
  CHECK_EQ(pwrite(e.dev.fd, &word, 4, (off_t)(e.bar + PAGE)), 4);
  CHECK_OK(munmap((void*)(uintptr_t)p, PAGE));
}

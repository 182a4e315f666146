/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared files whose owner takes pages away, or seals them, while devices use them. A kernel keeps the pinned pages; here the device's
 * access is aborted (docs/abi-matrix.md, row 93), and everybody lives.
 */
#define _GNU_SOURCE

#include <pthread.h>
#include <stdatomic.h>

#include "edu.h"

#define IOVA 0x100000u
#define NUM 4u
#define CUTS 10000

enum way { BY_ADDRESS, BY_FILE };

struct rig {
  int iommufd, file;
  uint32_t ioas;
  struct edu edu;
  uint8_t *own, *shared; /* a page that stays, and NUM pages of the file */
  uint64_t own_bus, bus[NUM];
};

static uint64_t bus_address(const struct rig* r, uint64_t iova) {
  uint64_t length = 1, phys;
  if (strncmp(r->edu.dev.name, "noiommu-", 8) != 0) return iova;
  REQUIRE(CHECK_OK(get_pa(r->iommufd, r->ioas, iova, &length, &phys)));
  return phys;
}

static void map_shared(struct rig* r, enum way way) {
  struct iommu_ioas_map_file cmd = {
      .size = sizeof(cmd), .flags = RW | FIXED, .ioas_id = r->ioas, .fd = r->file, .length = NUM * PAGE, .iova = IOVA};
  if (way == BY_ADDRESS)
    REQUIRE(CHECK_OK(map_fixed(r->iommufd, r->ioas, r->shared, NUM * PAGE, IOVA)));
  else
    REQUIRE(CHECK_OK(ioctl(r->iommufd, IOMMU_IOAS_MAP_FILE, &cmd)));
  for (unsigned i = 0; i < NUM; i++) r->bus[i] = bus_address(r, IOVA + i * PAGE);
}

static struct rig set_up(enum kind kind) {
  struct rig r = {.iommufd = open_iommufd()};
  r.ioas = ioas_alloc(r.iommufd);
  r.edu = edu_open(kind, 0, r.iommufd);
  REQUIRE(CHECK_OK(attach_to(&r.edu.dev, r.ioas)));
  r.own = pages(PAGE);
  fill(r.own, PAGE, 9);
  REQUIRE(CHECK_OK(map_fixed(r.iommufd, r.ioas, r.own, PAGE, 0x800000)));
  r.own_bus = bus_address(&r, 0x800000);
  r.file = keep(memfd_create("shared", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  REQUIRE(CHECK_OK(ftruncate(r.file, NUM * PAGE)));
  r.shared = mmap(NULL, NUM * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, r.file, 0);
  REQUIRE(CHECK(r.shared != MAP_FAILED));
  return r;
}

SECTION("iommufd-core 4.2");

static void cut(enum kind kind, enum way way) {
  struct rig r = set_up(kind);
  map_shared(&r, way);
  edu_load(&r.edu, r.own_bus, PAGE);
  for (unsigned i = 0; i < NUM; i++) edu_store(&r.edu, r.bus[i], PAGE);
  for (unsigned i = 0; i < NUM; i++) CHECK(filled(r.shared + i * PAGE, PAGE, 9));
  REQUIRE(CHECK_OK(ftruncate(r.file, PAGE)));
  edu_store(&r.edu, r.bus[2], PAGE); /* a kernel: into the page that is no longer the file's */
  edu_load(&r.edu, r.bus[3], PAGE);
  /* What is left works as before, and so does the device. */
  fill(r.shared, PAGE, 5);
  edu_load(&r.edu, r.bus[0], PAGE);
  edu_store(&r.edu, r.own_bus, PAGE);
  CHECK(filled(r.own, PAGE, 5));
  REQUIRE(CHECK_OK(ftruncate(r.file, NUM * PAGE)));
  CHECK_EQ(r.shared[2 * PAGE], 0); /* nobody wrote to the new page */
  edu_store(&r.edu, r.bus[2], PAGE);
  CHECK_EQ(filled(r.shared + 2 * PAGE, PAGE, 5), known(0, 1));
}

TEST(CF01, "IOMMU: a file that is cut short and made longer again") { cut(BEHIND_IOMMU, BY_ADDRESS); }
TEST(CF01n, "noiommu: the same") { cut(NOIOMMU, BY_ADDRESS); }
TEST(CF02, "IOMMU: the same with MAP_FILE") { cut(BEHIND_IOMMU, BY_FILE); }
TEST(CF02n, "noiommu: the same with MAP_FILE") { cut(NOIOMMU, BY_FILE); }

struct cutter {
  int file;
  atomic_int cuts;
  atomic_bool stop;
};

static void* cut_again_and_again(void* arg) {
  struct cutter* c = arg;
  for (unsigned i = 0; !c->stop; i++) {
    if (ftruncate(c->file, i % (NUM + 1) * PAGE) != 0) break;
    c->cuts++;
  }
  return NULL;
}

static void race(enum kind kind) {
  struct rig r = set_up(kind);
  struct cutter c = {.file = r.file};
  pthread_t thread;
  map_shared(&r, BY_ADDRESS);
  REQUIRE(CHECK_EQ(pthread_create(&thread, NULL, cut_again_and_again, &c), 0));
  for (unsigned i = 0; i < 500 || (c.cuts < CUTS && i < 100000); i++) {
    const uint64_t bus = r.bus[i % NUM];
    edu_store(&r.edu, bus + i % 64, i % 3 ? PAGE - 64 : 8);
    edu_load(&r.edu, bus, PAGE);
  }
  c.stop = true;
  pthread_join(thread, NULL);
  CHECK(c.cuts >= CUTS);
  /* And then it works. */
  REQUIRE(CHECK_OK(ftruncate(r.file, NUM * PAGE)));
  edu_load(&r.edu, r.own_bus, PAGE);
  edu_store(&r.edu, r.bus[1], PAGE);
  if (simulated()) CHECK(filled(r.shared + PAGE, PAGE, 9));
  CHECK(filled(r.own, PAGE, 9));
}

TEST(CF03, "IOMMU: a thread cuts the file 10,000 times while the device uses it") { race(BEHIND_IOMMU); }
TEST(CF03n, "noiommu: the same") { race(NOIOMMU); }

static void hole(enum kind kind) {
  struct rig r = set_up(kind);
  map_shared(&r, BY_ADDRESS);
  edu_load(&r.edu, r.own_bus, PAGE);
  REQUIRE(CHECK_OK(fallocate(r.file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, PAGE)));
  edu_store(&r.edu, r.bus[1], PAGE);
  CHECK_EQ(filled(r.shared + PAGE, PAGE, 9), known(0, 1));
  CHECK_EQ(r.shared[0], 0);
  CHECK_EQ(r.shared[2 * PAGE], 0);
}

TEST(CF04, "IOMMU: a hole is made in the file") { hole(BEHIND_IOMMU); }
TEST(CF04n, "noiommu: the same") { hole(NOIOMMU); }

/* The mapping is older than the seal, so the program may write, and its devices too; nobody else may map it for writing any more. */
static void sealed_before(enum kind kind) {
  struct rig r = set_up(kind);
  REQUIRE(CHECK_OK(fcntl(r.file, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK)));
  map_shared(&r, BY_ADDRESS);
  edu_load(&r.edu, r.own_bus, PAGE);
  edu_store(&r.edu, r.bus[1], PAGE);
  CHECK(filled(r.shared + PAGE, PAGE, 9));
  fill(r.shared + 2 * PAGE, PAGE, 7);
  edu_load(&r.edu, r.bus[2], PAGE);
  edu_store(&r.edu, r.own_bus, PAGE);
  CHECK(filled(r.own, PAGE, 7));
}

TEST(CF05, "IOMMU: a file that is sealed against future writing") { sealed_before(BEHIND_IOMMU); }
TEST(CF05n, "noiommu: the same") { sealed_before(NOIOMMU); }

/* Without an IOMMU nothing stops a device's write to memory that is pinned for reading: here the seal does. */
static void sealed_for_reading(enum kind kind) {
  struct rig r = set_up(kind);
  fill(r.shared, PAGE, 3);
  munmap(r.shared, NUM * PAGE);
  REQUIRE(CHECK_OK(fcntl(r.file, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK)));
  r.shared = mmap(NULL, NUM * PAGE, PROT_READ, MAP_SHARED, r.file, 0);
  REQUIRE(CHECK(r.shared != MAP_FAILED));
  uint64_t iova = IOVA;
  REQUIRE(
      CHECK_OK(map_full(r.iommufd, r.ioas, IOMMU_IOAS_MAP_READABLE | FIXED, (uintptr_t)r.shared, NUM * PAGE, &iova)));
  const uint64_t bus = bus_address(&r, IOVA);
  edu_load(&r.edu, bus, PAGE);
  edu_store(&r.edu, r.own_bus, PAGE);
  CHECK(filled(r.own, PAGE, 3));
  if (kind == NOIOMMU && !simulated()) return;
  fill(r.own, PAGE, 9);
  edu_load(&r.edu, r.own_bus, PAGE);
  edu_store(&r.edu, bus, PAGE);
  CHECK(filled(r.shared, PAGE, 3));
}

TEST(CF06, "IOMMU: a file that is sealed against writing is read, and not written") {
  sealed_for_reading(BEHIND_IOMMU);
}
TEST(CF06n, "noiommu: the same") { sealed_for_reading(NOIOMMU); }

TEST(CF07, "a file with pinned pages cannot be sealed against writing, and can be afterwards") {
  struct rig r = set_up(BEHIND_IOMMU);
  map_shared(&r, BY_ADDRESS);
  munmap(r.shared, NUM * PAGE);
  CHECK_ERR(fcntl(r.file, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
  REQUIRE(CHECK_OK(unmap(r.iommufd, r.ioas, IOVA, NUM * PAGE)));
  CHECK_OK(fcntl(r.file, F_ADD_SEALS, F_SEAL_WRITE));
}

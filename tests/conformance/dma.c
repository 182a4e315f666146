/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What DMA may touch, proven with the edu device: bytes go where the page table or the physical address says, and nowhere
 * else. Tests whose outcome a real machine without an IOMMU cannot promise (memory that nobody pinned) run only when
 * IOMMUFD_TEST_SIMULATED is set. IOMMUFD_TEST_PHYS says how simulated frames lie: "fragmented" or "contiguous".
 */
#define _GNU_SOURCE

#include "edu.h"

#define IOVA 0x100000u
#define NUM 8u

struct rig {
  int iommufd;
  uint32_t ioas;
  struct edu edu;
  uint8_t* memory; /* NUM pages, each with its own pattern */
  uint64_t bus[NUM];
};

static uint64_t bus_address(const struct rig* r, uint64_t iova) {
  uint64_t length = 1, phys;
  if (strncmp(r->edu.dev.name, "noiommu-", 8) != 0) return iova;
  REQUIRE(CHECK_OK(get_pa(r->iommufd, r->ioas, iova, &length, &phys)));
  return phys;
}

static void fill_pages(const struct rig* r) {
  for (unsigned i = 0; i < NUM; i++) fill(r->memory + i * PAGE, PAGE, i);
}

/* A device of a kind, attached, with NUM pages mapped at IOVA. */
static struct rig set_up(enum kind kind) {
  struct rig r = {.iommufd = open_iommufd()};
  r.ioas = ioas_alloc(r.iommufd);
  r.edu = edu_open(kind, 0, r.iommufd);
  REQUIRE(CHECK_OK(attach_to(&r.edu.dev, r.ioas)));
  r.memory = pages(NUM * PAGE);
  fill_pages(&r);
  REQUIRE(CHECK_OK(map_fixed(r.iommufd, r.ioas, r.memory, NUM * PAGE, IOVA)));
  for (unsigned i = 0; i < NUM; i++) r.bus[i] = bus_address(&r, IOVA + i * PAGE);
  return r;
}

/* Every page but `but` holds its own pattern. */
static void check_others(const struct rig* r, unsigned but) {
  for (unsigned i = 0; i < NUM; i++)
    if (i != but && !CHECK(filled(r->memory + i * PAGE, PAGE, i))) note("page %u", i);
}

static bool frames_are(const char* policy) {
  return getenv("IOMMUFD_TEST_PHYS") && strcmp(getenv("IOMMUFD_TEST_PHYS"), policy) == 0;
}

/* ---- both kinds -------------------------------------------------------------------------------------- */

SECTION("iommufd-core 4.2");

static void page_by_page(enum kind kind) {
  const struct rig r = set_up(kind);
  for (unsigned i = 0; i < NUM; i++) {
    const unsigned from = (i + 3) % NUM;
    edu_load(&r.edu, r.bus[from], PAGE);
    edu_store(&r.edu, r.bus[i], PAGE);
    CHECK(filled(r.memory + i * PAGE, PAGE, from));
    check_others(&r, i);
    fill(r.memory + i * PAGE, PAGE, i);
  }
}

TEST(W01, "IOMMU: DMA to the IOVA of page i changes page i only") { page_by_page(BEHIND_IOMMU); }
TEST(W01n, "noiommu: DMA to the physical address of page i changes page i only") { page_by_page(NOIOMMU); }

static void odd_places(enum kind kind) {
  const struct rig r = set_up(kind);
  uint8_t want[PAGE];
  memcpy(want, r.memory + 2 * PAGE, PAGE);
  memcpy(want + 101, r.memory + 5 * PAGE + 33, 777);
  edu_load(&r.edu, r.bus[5] + 33, 777);
  edu_store(&r.edu, r.bus[2] + 101, 777);
  CHECK(memcmp(r.memory + 2 * PAGE, want, PAGE) == 0);
  check_others(&r, 2);
  edu_store(&r.edu, r.bus[7] + PAGE - 1, 1); /* the last byte */
  CHECK_EQ(r.memory[8 * PAGE - 1], want[101]);
}

TEST(W02, "IOMMU: any byte and any length inside a page") { odd_places(BEHIND_IOMMU); }
TEST(W02n, "noiommu: any byte and any length inside a page") { odd_places(NOIOMMU); }

static void without_bus_master(enum kind kind) {
  const struct rig r = set_up(kind);
  edu_load(&r.edu, r.bus[1], PAGE);
  set_command(&r.edu, 0, PCI_COMMAND_MASTER);
  edu_store(&r.edu, r.bus[0], PAGE);
  check_others(&r, NUM);
  set_command(&r.edu, PCI_COMMAND_MASTER, 0);
  edu_store(&r.edu, r.bus[0], PAGE);
  CHECK(filled(r.memory, PAGE, 1));
}

TEST(W03, "IOMMU: with bus mastering off nothing changes") { without_bus_master(BEHIND_IOMMU); }
TEST(W03n, "noiommu: with bus mastering off nothing changes") { without_bus_master(NOIOMMU); }

static void after_unmap(enum kind kind) {
  const struct rig r = set_up(kind);
  if (kind == NOIOMMU && !simulated()) SKIP("without an IOMMU nothing stops this DMA");
  edu_load(&r.edu, r.bus[1], PAGE);
  REQUIRE(CHECK_OK(unmap(r.iommufd, r.ioas, IOVA, NUM * PAGE)));
  for (unsigned i = 0; i < NUM; i++) edu_store(&r.edu, r.bus[i], PAGE);
  check_others(&r, NUM);
}

TEST(W04, "IOMMU: after unmap nothing changes") { after_unmap(BEHIND_IOMMU); }
TEST(W04n, "noiommu: after unmap nothing changes (nobody pins the memory)") { after_unmap(NOIOMMU); }

static void see_new_content(enum kind kind) {
  const struct rig r = set_up(kind);
  for (unsigned round = 100; round < 110; round++) {
    fill(r.memory + PAGE, PAGE, round);
    edu_load(&r.edu, r.bus[1], PAGE);
    edu_store(&r.edu, r.bus[0], PAGE);
    CHECK(filled(r.memory, PAGE, round));
  }
}

TEST(W05, "IOMMU: DMA sees what the program wrote last") { see_new_content(BEHIND_IOMMU); }
TEST(W05n, "noiommu: DMA sees what the program wrote last") { see_new_content(NOIOMMU); }

static void shared_memory(enum kind kind) {
  const struct rig r = set_up(kind);
  uint8_t* p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  uint64_t bus[2];
  REQUIRE(CHECK(p != MAP_FAILED));
  fill(p, PAGE, 77);
  REQUIRE(CHECK_OK(map_fixed(r.iommufd, r.ioas, p, 2 * PAGE, 0x800000)));
  for (unsigned i = 0; i < 2; i++) bus[i] = bus_address(&r, 0x800000 + i * PAGE);
  edu_load(&r.edu, bus[0], PAGE);
  edu_store(&r.edu, bus[1], PAGE);
  CHECK(filled(p + PAGE, PAGE, 77));
  CHECK(filled(p, PAGE, 77));
}

TEST(W06, "IOMMU: DMA to shared memory") { shared_memory(BEHIND_IOMMU); }
TEST(W06n, "noiommu: DMA to shared memory") { shared_memory(NOIOMMU); }

/* ---- behind an IOMMU --------------------------------------------------------------------------------- */

SECTION("iommufd-core 3.4");

TEST(W10, "a mapping without WRITEABLE blocks writes of the device, one without READABLE its reads") {
  const struct rig r = set_up(BEHIND_IOMMU);
  uint8_t* p = pages(2 * PAGE);
  uint64_t read_iova = 0x800000, write_iova = 0x900000;
  fill(p, 2 * PAGE, 50);
  REQUIRE(CHECK_OK(map_full(r.iommufd, r.ioas, IOMMU_IOAS_MAP_READABLE | FIXED, (uintptr_t)p, PAGE, &read_iova)));
  REQUIRE(
      CHECK_OK(map_full(r.iommufd, r.ioas, IOMMU_IOAS_MAP_WRITEABLE | FIXED, (uintptr_t)p + PAGE, PAGE, &write_iova)));
  edu_load(&r.edu, r.bus[1], PAGE);
  edu_store(&r.edu, read_iova, PAGE);
  CHECK(filled(p, 2 * PAGE, 50));
  edu_load(&r.edu, write_iova, PAGE);
  edu_store(&r.edu, r.bus[0], PAGE);
  /* The device did not get the page; but x86-64 and RISC-V tables have no way to forbid reads alone. */
  CHECK((memcmp(r.memory, p + PAGE, PAGE) == 0) == (getenv("IOMMUFD_TEST_WRITE_READS") != NULL));
  edu_load(&r.edu, read_iova, PAGE);
  edu_store(&r.edu, write_iova, PAGE);
  CHECK(memcmp(p, p + PAGE, PAGE) == 0);
}

SECTION("iommufd-core 5");

TEST(W11, "an IOVA that was never mapped: nothing changes, and the device goes on") {
  const struct rig r = set_up(BEHIND_IOMMU);
  edu_load(&r.edu, r.bus[1], PAGE);
  edu_store(&r.edu, 0x4000000, PAGE);
  edu_load(&r.edu, 0x4000000, PAGE);
  check_others(&r, NUM);
  edu_load(&r.edu, r.bus[2], PAGE);
  edu_store(&r.edu, r.bus[0], PAGE);
  CHECK(filled(r.memory, PAGE, 2));
}

TEST(W12, "after detach nothing changes; after attach the same IOVA works") {
  const struct rig r = set_up(BEHIND_IOMMU);
  edu_load(&r.edu, r.bus[1], PAGE);
  REQUIRE(CHECK_OK(detach(&r.edu.dev)));
  edu_store(&r.edu, r.bus[0], PAGE);
  check_others(&r, NUM);
  REQUIRE(CHECK_OK(attach_to(&r.edu.dev, r.ioas)));
  edu_store(&r.edu, r.bus[0], PAGE);
  CHECK(filled(r.memory, PAGE, 1));
}

TEST(W13, "after replace the same IOVA is the memory of the other IOAS") {
  const struct rig r = set_up(BEHIND_IOMMU);
  const uint32_t other = ioas_alloc(r.iommufd);
  uint8_t* p = pages(PAGE);
  REQUIRE(CHECK_OK(map_fixed(r.iommufd, other, p, PAGE, IOVA)));
  edu_load(&r.edu, r.bus[1], PAGE);
  REQUIRE(CHECK_OK(attach_to(&r.edu.dev, other)));
  edu_store(&r.edu, IOVA, PAGE);
  CHECK(filled(p, PAGE, 1));
  check_others(&r, NUM);
}

TEST(W14, "a failed replace leaves the old page table in use") {
  const struct rig r = set_up(BEHIND_IOMMU);
  const uint32_t bad = ioas_alloc(r.iommufd);
  REQUIRE(CHECK_OK(map_fixed(r.iommufd, bad, no_page(), PAGE, IOVA)));
  CHECK_ERR(attach_to(&r.edu.dev, bad), EFAULT);
  edu_load(&r.edu, r.bus[1], PAGE);
  edu_store(&r.edu, r.bus[0], PAGE);
  CHECK(filled(r.memory, PAGE, 1));
}

SECTION("iommufd-core 4.2");

TEST(W15, "unmap and map of other memory at the same IOVA: DMA reaches the new memory, no stale translation") {
  const struct rig r = set_up(BEHIND_IOMMU);
  for (unsigned round = 0; round < 20; round++) {
    uint8_t* p = pages(PAGE);
    REQUIRE(CHECK_OK(map_fixed(r.iommufd, r.ioas, p, PAGE, 0x800000)));
    edu_load(&r.edu, r.bus[round % NUM], PAGE);
    edu_store(&r.edu, 0x800000, PAGE);
    CHECK(filled(p, PAGE, round % NUM));
    REQUIRE(CHECK_OK(unmap(r.iommufd, r.ioas, 0x800000, PAGE)));
  }
}

TEST(W16, "a copy keeps the memory reachable after the source is unmapped") {
  const struct rig r = set_up(BEHIND_IOMMU);
  REQUIRE(CHECK_OK(copy_fixed(r.iommufd, RW, r.ioas, r.ioas, PAGE, IOVA, 0x800000)));
  REQUIRE(CHECK_OK(unmap(r.iommufd, r.ioas, IOVA, NUM * PAGE)));
  edu_load(&r.edu, 0x800000, PAGE);
  fill(r.memory, PAGE, 9);
  edu_store(&r.edu, 0x800000, PAGE);
  CHECK(filled(r.memory, PAGE, 0));
  edu_store(&r.edu, IOVA + PAGE, PAGE);
  CHECK(filled(r.memory + PAGE, PAGE, 1));
}

TEST(W17, "a transfer across two pages follows the page table") {
  const struct rig r = set_up(BEHIND_IOMMU);
  uint8_t* p = pages(3 * PAGE);
  /* IOVA pages 0 and 1 are pages 2 and 0 of p. */
  REQUIRE(CHECK_OK(map_fixed(r.iommufd, r.ioas, p + 2 * PAGE, PAGE, 0x800000)));
  REQUIRE(CHECK_OK(map_fixed(r.iommufd, r.ioas, p, PAGE, 0x801000)));
  edu_load(&r.edu, r.bus[3], PAGE);
  edu_store(&r.edu, 0x800800, PAGE);
  CHECK(memcmp(p + 2 * PAGE + 0x800, r.memory + 3 * PAGE, 0x800) == 0);
  CHECK(memcmp(p, r.memory + 3 * PAGE + 0x800, 0x800) == 0);
  CHECK_EQ(p[PAGE], 0);
  CHECK_EQ(p[2 * PAGE], 0);
}

/* ---- without an IOMMU -------------------------------------------------------------------------------- */

SECTION("noiommu 12");

TEST(W20, "fragmented memory: the address behind page i is not page i+1, and DMA there does not change page i+1") {
  const struct rig r = set_up(NOIOMMU);
  if (!frames_are("fragmented")) SKIP("IOMMUFD_TEST_PHYS is not fragmented");
  for (unsigned i = 0; i + 1 < NUM; i++) {
    CHECK_NE(r.bus[i + 1], r.bus[i] + PAGE);
    edu_load(&r.edu, r.bus[(i + 4) % NUM], PAGE);
    edu_store(&r.edu, r.bus[i] + PAGE, PAGE);
    if (!CHECK(filled(r.memory + (i + 1) * PAGE, PAGE, i + 1))) note("page %u", i + 1);
    fill_pages(&r);
  }
}

TEST(W21, "contiguous memory: one run, and a transfer across pages follows it") {
  const struct rig r = set_up(NOIOMMU);
  uint64_t length = MAX, phys;
  if (!frames_are("contiguous")) SKIP("IOMMUFD_TEST_PHYS is not contiguous");
  REQUIRE(CHECK_OK(get_pa(r.iommufd, r.ioas, IOVA, &length, &phys)));
  CHECK_EQ(length, NUM * PAGE);
  edu_load(&r.edu, r.bus[5], PAGE);
  edu_store(&r.edu, r.bus[0] + PAGE / 2, PAGE);
  CHECK(memcmp(r.memory + PAGE / 2, r.memory + 5 * PAGE, PAGE) == 0);
}

TEST(W22, "simulated: an address that is no memory, and one that nobody pinned: nothing happens, the device goes on") {
  const struct rig r = set_up(NOIOMMU);
  if (!simulated()) SKIP("this would write to the memory of somebody else");
  edu_load(&r.edu, r.bus[1], PAGE);
  edu_store(&r.edu, 0, PAGE);
  edu_store(&r.edu, 0xffff000, PAGE);
  edu_load(&r.edu, 0, PAGE);
  check_others(&r, NUM);
  edu_load(&r.edu, r.bus[2], PAGE);
  edu_store(&r.edu, r.bus[0], PAGE);
  CHECK(filled(r.memory, PAGE, 2));
}

TEST(W23, "physical addresses fit the device's mask of 28 bits") {
  const struct rig r = set_up(NOIOMMU);
  if (!simulated()) SKIP("only simulated memory promises this");
  for (unsigned i = 0; i < NUM; i++) CHECK_LE(r.bus[i] + PAGE - 1, 0xfffffff);
}

TEST(W24, "both kinds in one context: the same memory by IOVA and by physical address") {
  const struct rig r = set_up(NOIOMMU);
  const struct edu other = edu_open(BEHIND_IOMMU, 0, r.iommufd);
  const uint32_t ioas = ioas_alloc(r.iommufd);
  REQUIRE(CHECK_OK(attach_to(&other.dev, ioas)));
  REQUIRE(CHECK_OK(copy_fixed(r.iommufd, RW, ioas, r.ioas, NUM * PAGE, IOVA, 0x40000)));
  edu_load(&r.edu, r.bus[3], PAGE);
  edu_store(&r.edu, r.bus[0], PAGE);
  edu_load(&other, 0x40000, PAGE);
  edu_store(&other, 0x40000 + PAGE, PAGE);
  CHECK(filled(r.memory, PAGE, 3));
  CHECK(filled(r.memory + PAGE, PAGE, 3));
}

/* ---- huge pages -------------------------------------------------------------------------------------- */

#define HUGE (2u << 20)

static void huge_page(int flags, int fd) {
  const struct rig r = set_up(NOIOMMU);
  uint64_t length = UINT64_MAX, phys = 0, middle_phys = 0, middle = UINT64_MAX;
  uint8_t* huge = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (huge == MAP_FAILED) SKIP("no huge pages (vm.nr_hugepages)");
  for (unsigned i = 0; i < HUGE / PAGE; i++) fill(huge + i * PAGE, PAGE, i);
  REQUIRE(CHECK_OK(map_fixed(r.iommufd, r.ioas, huge, HUGE, HUGE)));
  REQUIRE(CHECK_OK(get_pa(r.iommufd, r.ioas, HUGE, &length, &phys)));
  CHECK_EQ(length, HUGE);
  CHECK_EQ(phys % HUGE, 0);
  REQUIRE(CHECK_OK(get_pa(r.iommufd, r.ioas, HUGE + 5 * PAGE + 7, &middle, &middle_phys)));
  CHECK_EQ(middle_phys, phys + 5 * PAGE + 7);
  CHECK_EQ(middle, HUGE - 5 * PAGE - 7);
  edu_load(&r.edu, phys + 300 * PAGE, PAGE);
  edu_store(&r.edu, phys + 200 * PAGE, PAGE);
  for (unsigned i = 0; i < HUGE / PAGE; i++) CHECK(filled(huge + i * PAGE, PAGE, i == 200 ? 300 : i));
  /* A part of it has the same address when it is mapped again, alone; with --pin=real that cannot be known of private memory. */
  if (getenv("IOMMUFD_TEST_PINS") && fd < 0) return;
  REQUIRE(CHECK_OK(map_fixed(r.iommufd, r.ioas, huge + 9 * PAGE, PAGE, 3 * HUGE)));
  REQUIRE(CHECK_OK(get_pa(r.iommufd, r.ioas, 3 * HUGE, &length, &middle_phys)));
  CHECK_EQ(middle_phys, phys + 9 * PAGE);
}

SECTION("noiommu 12");

TEST(W30, "noiommu: a huge page is one run of physical addresses, aligned to its size") {
  huge_page(MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1);
}

TEST(W31, "noiommu: the same for a huge page of a shared file") {
  const int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
  if (fd < 0 || ftruncate(fd, HUGE)) SKIP("no memfd of huge pages");
  huge_page(MAP_SHARED, fd);
}

/* ---- shared memory ----------------------------------------------------------------------------------- */

SECTION("iommufd-core 4.2");

static void file_memory(enum kind kind, unsigned seals) {
  const struct rig r = set_up(kind);
  const int fd = memfd_create("shared", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  REQUIRE(CHECK_OK(ftruncate(fd, 4 * PAGE)));
  if (seals) REQUIRE(CHECK_OK(fcntl(fd, F_ADD_SEALS, seals)));
  uint8_t* shared = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  uint8_t* other = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  REQUIRE(CHECK(shared != MAP_FAILED && other != MAP_FAILED));
  REQUIRE(CHECK_OK(map_fixed(r.iommufd, r.ioas, shared, 4 * PAGE, 0x400000)));
  const uint64_t bus = bus_address(&r, 0x400000 + 2 * PAGE);
  REQUIRE(CHECK_OK(munmap(shared, 4 * PAGE))); /* what is pinned stays what it was */
  REQUIRE(
      CHECK(mmap(shared, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == shared));
  edu_load(&r.edu, r.bus[6], PAGE);
  edu_store(&r.edu, bus, PAGE);
  CHECK(filled(other + 2 * PAGE, PAGE, 6));
  CHECK_EQ(shared[2 * PAGE], 0);
  CHECK_EQ(other[PAGE], 0);
  fill(other + 2 * PAGE, PAGE, 77);
  edu_load(&r.edu, bus, PAGE);
  edu_store(&r.edu, r.bus[0], PAGE);
  CHECK(filled(r.memory, PAGE, 77));
}

TEST(W32, "IOMMU: shared memory stays mapped when the program unmaps it") { file_memory(BEHIND_IOMMU, 0); }
TEST(W32n, "noiommu: shared memory stays mapped when the program unmaps it") { file_memory(NOIOMMU, 0); }
TEST(W33, "IOMMU: the same for a sealed file") { file_memory(BEHIND_IOMMU, F_SEAL_SHRINK); }
TEST(W33n, "noiommu: the same for a sealed file") { file_memory(NOIOMMU, F_SEAL_SHRINK); }

/* Memory that a child has mapped and that outlives it, as the memory of its parent; no descriptor of it is left. */
static void memory_of_a_gone_child(enum kind kind) {
  const struct rig r = set_up(kind);
  char way[64];
  uint8_t* shared = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(CHECK(shared != MAP_FAILED));
  snprintf(way, sizeof(way), "/proc/self/map_files/%lx-%lx", (unsigned long)shared, (unsigned long)shared + 4 * PAGE);
  if (simulated() && keep(open(way, O_RDWR | O_CLOEXEC)) < 0) SKIP("only a privileged user may open what is mapped");
  map_by_child(r.iommufd, r.ioas, shared, 4 * PAGE, 0x400000);
  const uint64_t bus = bus_address(&r, 0x400000 + 3 * PAGE);
  edu_load(&r.edu, r.bus[5], PAGE);
  edu_store(&r.edu, bus, PAGE);
  CHECK(filled(shared + 3 * PAGE, PAGE, 5));
  CHECK_EQ(shared[2 * PAGE], 0);
  fill(shared + 3 * PAGE, PAGE, 78);
  edu_load(&r.edu, bus, PAGE);
  edu_store(&r.edu, r.bus[0], PAGE);
  CHECK(filled(r.memory, PAGE, 78));
}

TEST(W34, "IOMMU: memory that a child has mapped is there when the child is gone") {
  memory_of_a_gone_child(BEHIND_IOMMU);
}
TEST(W34n, "noiommu: the same") { memory_of_a_gone_child(NOIOMMU); }

TEST(W35, "a page of a shared file that is mapped for reading first and for writing later: DMA writes it") {
  const int iommufd = open_iommufd();
  const struct edu e = edu_open(BEHIND_IOMMU, 0, iommufd);
  const uint32_t ioas = ioas_alloc(iommufd);
  const int file = keep(memfd_create("shared", MFD_CLOEXEC));
  REQUIRE(CHECK_OK(attach_to(&e.dev, ioas)));
  REQUIRE(CHECK_OK(ftruncate(file, PAGE)));
  uint8_t* p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  REQUIRE(CHECK(p != MAP_FAILED));
  uint64_t reads = 0x10000, writes = 0x20000;
  REQUIRE(CHECK_OK(map_full(iommufd, ioas, IOMMU_IOAS_MAP_READABLE | FIXED, (uintptr_t)p, PAGE, &reads)));
  REQUIRE(CHECK_OK(map_full(iommufd, ioas, RW | FIXED, (uintptr_t)p, PAGE, &writes)));
  fill(p, 256, 1);
  edu_load(&e, reads, 256);
  memset(p, 0, 256);
  edu_store(&e, writes, 256);
  CHECK(filled(p, 256, 1));
  munmap(p, PAGE);
}

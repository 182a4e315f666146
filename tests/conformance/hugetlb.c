/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory in huge pages of 2 MiB, as drivers in user space get it: memfd_create(MFD_HUGETLB) with IOMMU_IOAS_MAP_FILE, and
 * mmap(MAP_HUGETLB) with /proc/self/pagemap. Needs 16 free huge pages (vm.nr_hugepages, or run --hugetlb=emulate) and edu
 * devices of both kinds.
 */
#define _GNU_SOURCE
#include <linux/magic.h>
#include <linux/memfd.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "edu.h"

#define HUGE (2u << 20)
#define IOVA 0x400000u
#define ANON (MAP_ANONYMOUS | MAP_HUGETLB)

/* The number behind a word of a file, or -1. */
static long number_in(const char* path, const char* word) {
  char text[8192];
  const char* at;
  if (!read_text(path, text, sizeof(text))) return -1;
  at = strstr(text, word);
  return at ? strtol(at + strlen(word), NULL, 10) : -1;
}

static long meminfo(const char* word) { return number_in("/proc/meminfo", word); }
static long free_pages(void) { return meminfo("HugePages_Free:"); }

static int huge_file(size_t size) {
  const int fd = keep((int)syscall(SYS_memfd_create, "dma", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB));
  REQUIRE(CHECK_OK(fd));
  REQUIRE(CHECK_OK(ftruncate(fd, (off_t)size)));
  return fd;
}

static uint8_t* map_at(void* at, size_t length, int flags, int fd, off_t offset) {
  uint8_t* p = mmap(at, length, PROT_READ | PROT_WRITE, flags, fd, offset);
  if (!CHECK(p != MAP_FAILED)) note("%s", strerror(errno));
  REQUIRE(p != MAP_FAILED);
  CHECK_EQ((uintptr_t)p % HUGE, 0);
  return p;
}

SECTION("clients 1.3");

TEST(HG01, "what the system says of huge pages agrees, and follows what is used") {
  const long before = free_pages(), total = meminfo("HugePages_Total:");
  uint8_t* p;
  CHECK_EQ(meminfo("Hugepagesize:"), 2048);
  CHECK_EQ(number_in("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", ""), total);
  CHECK_EQ(number_in("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", ""), before);
  CHECK_EQ(number_in("/proc/sys/vm/nr_hugepages", ""), total);
  REQUIRE(CHECK_GE(before, 16));
  p = map_at(NULL, 3 * HUGE, ANON | MAP_PRIVATE, -1, 0);
  for (unsigned i = 0; i < 3; i++) p[i * HUGE] = 1;
  CHECK_EQ(free_pages(), before - 3);
  CHECK_OK(munmap(p, 3 * HUGE));
  CHECK_EQ(free_pages(), before);
}

TEST(HG02, "memfd_create: the size is of whole pages, its mappings too, and aligned; fstat and fstatfs say 2 MiB") {
  const int fd = huge_file(2 * HUGE), copy = keep(dup(fd));
  struct stat st;
  struct statfs fs;
  uint8_t *p, *q;
  CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  CHECK_ERR(ftruncate(fd, HUGE + PAGE), EINVAL);
  CHECK_OK(fstat(fd, &st));
  CHECK_EQ(st.st_blksize, HUGE);
  CHECK_EQ(st.st_size, 2 * HUGE);
  CHECK_OK(fstatfs(copy, &fs));
  CHECK_EQ(fs.f_type, HUGETLBFS_MAGIC);
  CHECK_EQ(fs.f_bsize, HUGE);
  p = map_at(NULL, PAGE, MAP_SHARED, fd, 0);
  p[HUGE - 1] = 7; /* the length was rounded */
  q = map_at(NULL, 2 * HUGE, MAP_SHARED, copy, 0);
  CHECK_EQ(q[HUGE - 1], 7);
  CHECK(mmap(NULL, HUGE, PROT_READ, MAP_SHARED, fd, PAGE) == MAP_FAILED && errno == EINVAL);
  CHECK_OK(munmap(p, HUGE));
  CHECK_OK(munmap(q, 2 * HUGE));
}

TEST(HG03, "a mapping that may be written makes the file as long") {
  const int fd = huge_file(0);
  struct stat st;
  uint8_t* p = map_at(NULL, 2 * HUGE, MAP_SHARED, fd, 0);
  CHECK_OK(fstat(fd, &st));
  CHECK_EQ(st.st_size, 2 * HUGE);
  p[2 * HUGE - 1] = 1;
  CHECK_OK(munmap(p, 2 * HUGE));
}

TEST(HG04, "MAP_FIXED and hints; a place that is not aligned EINVAL") {
  uint8_t* room = mmap(NULL, 8 * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  uint8_t* at = room + HUGE - (uintptr_t)room % HUGE;
  REQUIRE(CHECK(room != MAP_FAILED));
  CHECK(mmap(at + PAGE, HUGE, PROT_READ, ANON | MAP_PRIVATE | MAP_FIXED, -1, 0) == MAP_FAILED && errno == EINVAL);
  CHECK(map_at(at, HUGE, ANON | MAP_PRIVATE | MAP_FIXED, -1, 0) == at);
  CHECK(map_at(at + HUGE, HUGE, MAP_SHARED | MAP_FIXED, huge_file(HUGE), 0) == at + HUGE);
  at[2 * HUGE - 1] = 3;
  CHECK(mmap(at, HUGE, PROT_READ, ANON | MAP_PRIVATE | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED && errno == EEXIST);
  CHECK(map_at(at, HUGE, ANON | MAP_PRIVATE, -1, 0) != at); /* taken: elsewhere */
  CHECK_OK(munmap(room, 8 * HUGE));
  CHECK(map_at(at, HUGE, ANON | MAP_PRIVATE, -1, 0) == at);
  CHECK_OK(munmap(at, HUGE));
}

TEST(HG05, "what is refused: no length, no type, other flags, MAP_HUGETLB of an ordinary file") {
  const int file = keep(memfd_create("small", MFD_CLOEXEC));
  REQUIRE(CHECK_OK(ftruncate(file, HUGE)));
  CHECK(mmap(NULL, 0, PROT_READ, ANON | MAP_PRIVATE, -1, 0) == MAP_FAILED && errno == EINVAL);
  CHECK(mmap(NULL, HUGE, PROT_READ, ANON, -1, 0) == MAP_FAILED && errno == EINVAL);
  CHECK(mmap(NULL, SIZE_MAX / 2 + 1, PROT_READ, ANON | MAP_PRIVATE, -1, 0) == MAP_FAILED && errno == ENOMEM);
  CHECK(mmap(NULL, HUGE, PROT_READ, MAP_HUGETLB | MAP_SHARED, file, 0) == MAP_FAILED && errno == EINVAL);
  CHECK_ERR(syscall(SYS_memfd_create, "dma", MFD_HUGETLB | 0x400), EINVAL);
  CHECK_ERR(syscall(SYS_memfd_create, no_page(), MFD_HUGETLB), EFAULT);
}

TEST(HG06, "without free pages ENOMEM, and again when there are some") {
  const long pages = free_pages();
  uint8_t* p;
  REQUIRE(CHECK_GE(pages, 1));
  CHECK(mmap(NULL, ((size_t)pages + 1) * HUGE, PROT_READ | PROT_WRITE, ANON | MAP_PRIVATE, -1, 0) == MAP_FAILED &&
        errno == ENOMEM);
  p = map_at(NULL, (size_t)pages * HUGE, ANON | MAP_PRIVATE, -1, 0);
  CHECK(mmap(NULL, HUGE, PROT_READ | PROT_WRITE, ANON | MAP_PRIVATE, -1, 0) == MAP_FAILED && errno == ENOMEM);
  CHECK_OK(munmap(p, (size_t)pages * HUGE));
  CHECK_OK(munmap(map_at(NULL, HUGE, ANON | MAP_PRIVATE, -1, 0), HUGE));
}

TEST(HG07, "a part can be unmapped; the rest stays, and its place is free") {
  uint8_t* p = map_at(NULL, 3 * HUGE, ANON | MAP_PRIVATE, -1, 0);
  p[0] = p[2 * HUGE] = 9;
  CHECK_OK(munmap(p + HUGE, HUGE));
  CHECK_EQ(p[0] + p[2 * HUGE], 18);
  CHECK(map_at(p + HUGE, HUGE, ANON | MAP_PRIVATE | MAP_FIXED_NOREPLACE, -1, 0) == p + HUGE);
  CHECK_EQ(p[HUGE], 0);
  CHECK_OK(munmap(p, 3 * HUGE));
}

TEST(HG08, "fork: shared memory is shared, private memory is copied") {
  uint8_t *shared = map_at(NULL, HUGE, ANON | MAP_SHARED, -1, 0), *own = map_at(NULL, HUGE, ANON | MAP_PRIVATE, -1, 0);
  int status;
  own[5] = 1;
  const pid_t child = fork();
  if (child == 0) {
    shared[5] = own[5] + 1;
    own[5] = 77;
    _exit(0);
  }
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(shared[5], 2);
  CHECK_EQ(own[5], 1);
  CHECK_OK(munmap(shared, HUGE));
  CHECK_OK(munmap(own, HUGE));
}

TEST(HG09, "the number of pages can be written, by who may; what is used stays") {
  const char* const path = "/proc/sys/vm/nr_hugepages";
  const long total = meminfo("HugePages_Total:");
  const int fd = keep(open(path, O_WRONLY | O_CLOEXEC));
  char text[32];
  if (fd < 0) SKIP("no right to write it");
  CHECK_EQ(write(fd, "24\n", 3), 3);
  CHECK_EQ(number_in(path, ""), 24);
  CHECK_EQ(meminfo("HugePages_Total:"), 24);
  CHECK_ERR(write(fd, "many\n", 5), EINVAL);
  snprintf(text, sizeof(text), "%ld\n", total);
  CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
  CHECK_EQ(meminfo("HugePages_Total:"), total);
  CHECK_ERR(open("/proc/meminfo", O_WRONLY), EACCES);
}

/* ---- DMA --------------------------------------------------------------------------------------------- */

struct rig {
  int iommufd;
  uint32_t ioas;
  struct edu edu;
};

static struct rig set_up(enum kind kind) {
  struct rig r = {.iommufd = open_iommufd()};
  r.ioas = ioas_alloc(r.iommufd);
  r.edu = edu_open(kind, 0, r.iommufd);
  REQUIRE(CHECK_OK(attach_to(&r.edu.dev, r.ioas)));
  return r;
}

/* DMA from the first half of the 2 MiB at `iova` to its second half, and across its middle; frames of it are contiguous. */
static void check_dma(const struct rig* r, uint8_t* memory, uint64_t iova) {
  uint64_t bus = iova, length = MAX;
  if (strncmp(r->edu.dev.name, "noiommu-", 8) == 0) {
    REQUIRE(CHECK_OK(get_pa(r->iommufd, r->ioas, iova, &length, &bus)));
    CHECK_GE(length, HUGE);
    CHECK_EQ(bus % HUGE, 0);
    length = MAX;
    REQUIRE(CHECK_OK(get_pa(r->iommufd, r->ioas, iova + HUGE - PAGE, &length, &bus)));
    bus -= HUGE - PAGE;
  }
  fill(memory, PAGE, 5);
  memset(memory + HUGE / 2, 0, 2 * PAGE);
  edu_load(&r->edu, bus, PAGE);
  edu_store(&r->edu, bus + HUGE / 2 + 100, PAGE);
  CHECK(filled(memory + HUGE / 2 + 100, PAGE, 5));
  CHECK_EQ(memory[HUGE / 2 + 99] | memory[HUGE / 2 + 100 + PAGE], 0);
}

/* What uPCIe does. */
static void by_file(enum kind kind) {
  const struct rig r = set_up(kind);
  const int fd = huge_file(2 * HUGE);
  uint8_t* p = map_at(NULL, 2 * HUGE, MAP_SHARED, fd, 0);
  struct iommu_ioas_map_file map = {.size = sizeof(map), .flags = RW, .ioas_id = r.ioas, .fd = fd, .length = 2 * HUGE};
  (void)mlock(p, 2 * HUGE);
  memset(p, 0, 2 * HUGE);
  REQUIRE(CHECK_OK(ioctl(r.iommufd, IOMMU_IOAS_MAP_FILE, &map)));
  check_dma(&r, p, map.iova);
  check_dma(&r, p + HUGE, map.iova + HUGE);
  CHECK_OK(munmap(p, 2 * HUGE));
}

TEST(HG10, "IOMMU: MAP_FILE of a huge file") { by_file(BEHIND_IOMMU); }
TEST(HG10n, "noiommu: MAP_FILE of a huge file; a huge page is one run of addresses") { by_file(NOIOMMU); }

static uint64_t frame(const void* p) {
  const int fd = keep(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  uint64_t entry = 0;
  CHECK_EQ(pread(fd, &entry, 8, (off_t)((uintptr_t)p / PAGE * 8)), 8);
  close_kept(fd);
  return entry & ((1ull << 55) - 1);
}

static void by_address(enum kind kind, int type) {
  const struct rig r = set_up(kind);
  uint8_t* p = map_at(NULL, 2 * HUGE, ANON | type, -1, 0);
  for (size_t i = 0; i < 2 * HUGE; i += PAGE) p[i] = 1;
  REQUIRE(CHECK_OK(map_fixed(r.iommufd, r.ioas, p, 2 * HUGE, IOVA)));
  check_dma(&r, p, IOVA);
  check_dma(&r, p + HUGE, IOVA + HUGE);
  CHECK_OK(munmap(p, 2 * HUGE));
}

TEST(HG11, "IOMMU: MAP of private huge pages") { by_address(BEHIND_IOMMU, MAP_PRIVATE); }
TEST(HG11n, "noiommu: MAP of private huge pages") { by_address(NOIOMMU, MAP_PRIVATE); }
TEST(HG12, "IOMMU: MAP of shared huge pages") { by_address(BEHIND_IOMMU, MAP_SHARED); }
TEST(HG12n, "noiommu: MAP of shared huge pages") { by_address(NOIOMMU, MAP_SHARED); }

SECTION("clients 1.5");

TEST(HG13, "pagemap: the frames of a huge page follow each other, and are those of GET_PA") {
  const struct rig r = set_up(NOIOMMU);
  uint8_t* p = map_at(NULL, 2 * HUGE, ANON | MAP_PRIVATE, -1, 0);
  uint64_t first, length = MAX, phys;
  if (getenv("IOMMUFD_TEST_PINS")) SKIP("a page that is pinned twice has two addresses");
  for (size_t i = 0; i < 2 * HUGE; i += PAGE) p[i] = 1;
  first = frame(p);
  if (first == 0) SKIP("no CAP_SYS_ADMIN");
  CHECK_EQ(first % (HUGE / PAGE), 0);
  for (unsigned i = 1; i < HUGE / PAGE; i++)
    if (!CHECK_EQ(frame(p + i * PAGE), first + i)) break;
  CHECK_EQ(frame(p + HUGE) % (HUGE / PAGE), 0);
  REQUIRE(CHECK_OK(map_fixed(r.iommufd, r.ioas, p, HUGE, IOVA)));
  REQUIRE(CHECK_OK(get_pa(r.iommufd, r.ioas, IOVA, &length, &phys)));
  CHECK_EQ(phys, first * PAGE);
  CHECK_EQ(length, HUGE);
  CHECK_OK(munmap(p, 2 * HUGE));
}

/* What DPDK does: one entry of pagemap for a huge page, and DMA to all of it. */
TEST(HG14, "noiommu: who looked one page of a huge page up can do DMA to the others") {
  const struct rig r = set_up(NOIOMMU);
  uint8_t* p = map_at(NULL, HUGE, ANON | MAP_PRIVATE, -1, 0);
  memset(p, 0, HUGE);
  const uint64_t first = frame(p);
  if (first == 0) SKIP("no CAP_SYS_ADMIN");
  fill(p + 300 * PAGE, PAGE, 7);
  edu_load(&r.edu, (first + 300) * PAGE, PAGE);
  edu_store(&r.edu, (first + HUGE / PAGE - 1) * PAGE, PAGE);
  CHECK(filled(p + HUGE - PAGE, PAGE, 7));
  CHECK_OK(munmap(p, HUGE));
}

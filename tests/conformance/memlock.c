/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pinned memory is charged to RLIMIT_MEMLOCK of a process without CAP_IPC_LOCK (spec iommufd-core 4.4, rows M28, B14,
 * C18, F20, F21), and CHANGE_PROCESS charges another one (3.10, rows P04, P05).
 * The program gives up CAP_IPC_LOCK and lowers its own limit to 64 pages; a device that needs CAP_SYS_RAWIO is used only
 * when it can be opened.
 */
#define _GNU_SOURCE
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "test_abi.h"

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

/* A number of /proc/PID/status, in kB. */
static long status_kb(pid_t pid, const char* key) {
  char path[64], line[256];
  long kb = -1;
  FILE* f;
  snprintf(path, sizeof(path), pid ? "/proc/%d/status" : "/proc/self/status", (int)pid);
  f = fopen(path, "r");
  REQUIRE(CHECK(f != NULL));
  while (fgets(line, sizeof(line), f))
    if (strncmp(line, key, strlen(key)) == 0) sscanf(line + strlen(key), ":%ld kB", &kb);
  fclose(f);
  return kb;
}

SECTION("iommufd-core 4.4");

TEST_ROWS(L01, "B14", "without a domain nothing is pinned, so 200 pages map; attach is ENOMEM and changes nothing") {
  const struct space s = set_up(false);
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, pages(200 * PAGE), 200 * PAGE, 0x100000)));
  CHECK_ERR(attach_to(&s.dev, s.ioas), ENOMEM);
  CHECK_EQ(status_kb(0, "VmPin"), 0);
  REQUIRE(CHECK_OK(unmap(s.iommufd, s.ioas, 0x100000, 200 * PAGE)));
  CHECK_OK(attach_to(&s.dev, s.ioas));
  CHECK_OK(map_fixed(s.iommufd, s.ioas, pages(LIMIT * PAGE), LIMIT * PAGE, 0x100000));
}

TEST_ROWS(L02, "M28", "65 pages: ENOMEM; 64: ok; then not one more byte; after unmap again") {
  const struct space s = set_up(true);
  uint8_t *memory = pages((LIMIT + 1) * PAGE), *more = pages(PAGE);
  CHECK_ERR(map_fixed(s.iommufd, s.ioas, memory, (LIMIT + 1) * PAGE, 0x100000), ENOMEM);
  CHECK_EQ(status_kb(0, "VmPin"), 0);
  CHECK_OK(map_fixed(s.iommufd, s.ioas, memory, LIMIT * PAGE, 0x100000));
  CHECK_ERR(map_fixed(s.iommufd, s.ioas, more, PAGE, 0x800000), ENOMEM);
  CHECK_EQ(status_kb(0, "VmPin"), LIMIT * PAGE / 1024);
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

TEST(L05b,
     "VmPin shows what is pinned, once however often it is used, also to another process; VmLck only in process mode") {
  const struct space s = set_up(true);
  uint8_t* memory = pages(LIMIT * PAGE);
  const pid_t parent = getpid();
  int status = 0;
  pid_t child;
  CHECK_EQ(status_kb(0, "VmPin"), 0);
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, memory, 64 * PAGE, 0x100000)));
  CHECK_EQ(status_kb(0, "VmPin"), 256);
  CHECK_EQ(status_kb(0, "VmLck"), 0);
  CHECK_EQ(status_kb(parent, "VmPin"), 256);
  child = fork();
  if (child == 0) _exit(status_kb(parent, "VmPin") != 256 || status_kb(0, "VmPin") != 0);
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  CHECK_OK(copy_fixed(s.iommufd, RW, s.ioas, s.ioas, 10 * PAGE, 0x100000, 0xa00000));
  CHECK_EQ(status_kb(0, "VmPin"), 256);
  CHECK_OK(unmap(s.iommufd, s.ioas, 0x100000, 64 * PAGE));
  CHECK_EQ(status_kb(0, "VmPin"), 40);
  CHECK_OK(unmap(s.iommufd, s.ioas, 0xa00000, 10 * PAGE));
  CHECK_EQ(status_kb(0, "VmPin"), 0);
}

TEST(L07, "MAP_DMA is charged as the context is: to the user, not to VmLck (quirk Q14)") {
  const struct space s = set_up(true);
  uint8_t* memory = pages(LIMIT * PAGE);
  struct iommu_vfio_ioas compat = {.size = sizeof(compat), .ioas_id = s.ioas, .op = IOMMU_VFIO_IOAS_SET};
  struct vfio_iommu_type1_dma_map map = {.argsz = sizeof(map),
                                         .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                                         .vaddr = (uintptr_t)memory,
                                         .iova = 0x100000,
                                         .size = LIMIT * PAGE};
  REQUIRE(CHECK_OK(ioctl(s.iommufd, IOMMU_VFIO_IOAS, &compat)));
  CHECK_OK(ioctl(s.iommufd, VFIO_IOMMU_MAP_DMA, &map));
  CHECK_EQ(status_kb(0, "VmPin"), LIMIT * PAGE / 1024);
  CHECK_EQ(status_kb(0, "VmLck"), 0);
  map.iova = 0x800000;
  map.size = PAGE;
  CHECK_ERR(ioctl(s.iommufd, VFIO_IOMMU_MAP_DMA, &map), ENOMEM);
}

TEST_ROWS(L06, "C18", "a mapping in two IOASes by COPY is charged once, and closing the device gives it back") {
  const struct space s = set_up(true);
  const uint32_t second = ioas_alloc(s.iommufd);
  uint8_t* memory = pages(LIMIT * PAGE);
  uint32_t hwpt;
  REQUIRE(CHECK_OK(hwpt_alloc(s.iommufd, s.dev.id, second, 0, &hwpt)));
  REQUIRE(CHECK_OK(map_fixed(s.iommufd, s.ioas, memory, LIMIT * PAGE, 0x100000)));
  CHECK_EQ(status_kb(0, "VmPin"), LIMIT * PAGE / 1024);
  CHECK_OK(copy_fixed(s.iommufd, RW, second, s.ioas, LIMIT * PAGE, 0x100000, 0x100000));
  CHECK_EQ(status_kb(0, "VmPin"), LIMIT * PAGE / 1024);
  REQUIRE(CHECK_OK(destroy(s.iommufd, hwpt)));
  close_kept(s.dev.fd);
  REQUIRE(CHECK_OK(hwpt_alloc(s.iommufd, open_and_bind(BEHIND_IOMMU, 0, s.iommufd).id, second, 0, &hwpt)));
  CHECK_ERR(map_fixed(s.iommufd, second, memory, PAGE, 0x900000), ENOMEM);
}

/* ---- CHANGE_PROCESS ---------------------------------------------------------------------------------- */

SECTION("iommufd-core 3.10");

static int map_file(const struct space* s, int memfd, uint64_t start, uint64_t length, uint64_t iova) {
  struct iommu_ioas_map_file cmd = {.size = sizeof(cmd),
                                    .flags = RW | FIXED,
                                    .ioas_id = s->ioas,
                                    .fd = memfd,
                                    .start = start,
                                    .length = length,
                                    .iova = iova};
  return ioctl(s->iommufd, IOMMU_IOAS_MAP_FILE, &cmd);
}

static int make_memfd(uint64_t size) {
  const int memfd = keep(memfd_create("memlock", 0));
  REQUIRE(CHECK_OK(ftruncate(memfd, (off_t)size)));
  return memfd;
}

static int set_limit(rlim_t pages_allowed) {
  const struct rlimit limit = {pages_allowed * PAGE, LIMIT * PAGE};
  return setrlimit(RLIMIT_MEMLOCK, &limit);
}

/* A child that calls CHANGE_PROCESS and lives until finish(). */
struct child {
  pid_t pid;
  int go, result; /* closed to let it end; the errno it saw */
};

static struct child change_process_in_child(int iommufd, rlim_t limit) {
  int go[2], done[2];
  struct child c = {.result = -1};
  REQUIRE(CHECK_OK(pipe(go)));
  REQUIRE(CHECK_OK(pipe(done)));
  c.pid = fork();
  REQUIRE(CHECK_GE(c.pid, 0));
  if (c.pid == 0) {
    if (set_limit(limit) != 0) _exit(2);
    struct iommu_ioas_change_process cmd = {.size = sizeof(cmd)};
    const int e = ioctl(iommufd, IOMMU_IOAS_CHANGE_PROCESS, &cmd) == 0 ? 0 : errno;
    char end;
    close(go[1]);
    if (write(done[1], &e, sizeof(e)) != sizeof(e)) _exit(2);
    _exit(read(go[0], &end, 1) != 0);
  }
  close(go[0]);
  close(done[1]);
  REQUIRE(CHECK_EQ(read(done[0], &c.result, sizeof(c.result)), sizeof(c.result)));
  close(done[0]);
  c.go = go[1];
  return c;
}

static void finish(const struct child* c) {
  int status = 0;
  close(c->go);
  CHECK_EQ(waitpid(c->pid, &status, 0), c->pid);
  CHECK_EQ(status, 0);
}

TEST(P04,
     "CHANGE_PROCESS of a child of the same user: its charge comes before the old one goes, then all is as it was") {
  const struct space s = set_up(true);
  const int memfd = make_memfd(LIMIT * PAGE);
  REQUIRE(CHECK_OK(map_file(&s, memfd, 0, LIMIT / 4 * PAGE, 0x100000)));
  REQUIRE(CHECK_OK(map_file(&s, memfd, LIMIT / 4 * PAGE, LIMIT / 4 * PAGE, 0x200000)));
  CHECK_EQ(status_kb(0, "VmPin"), LIMIT / 2 * PAGE / 1024);
  const struct child c = change_process_in_child(s.iommufd, LIMIT);
  CHECK_EQ(c.result, 0);
  CHECK_EQ(status_kb(0, "VmPin"), 0);
  CHECK_EQ(status_kb(c.pid, "VmPin"), LIMIT / 2 * PAGE / 1024);
  CHECK_ERR(map_file(&s, memfd, 0, (LIMIT / 2 + 1) * PAGE, 0x300000), ENOMEM);
  CHECK_OK(map_file(&s, memfd, 0, LIMIT / 2 * PAGE, 0x300000));
  finish(&c);
  REQUIRE(CHECK_OK(unmap(s.iommufd, s.ioas, 0x100000, LIMIT / 4 * PAGE)));
  CHECK_ERR(map_file(&s, memfd, 0, (LIMIT / 4 + 1) * PAGE, 0x400000), ENOMEM);
  CHECK_OK(map_file(&s, memfd, 0, LIMIT / 4 * PAGE, 0x400000));
}

TEST(P05, "CHANGE_PROCESS beyond the limit: ENOMEM, and nothing is charged differently") {
  const struct space s = set_up(true);
  const int memfd = make_memfd(LIMIT * PAGE);
  REQUIRE(CHECK_OK(map_file(&s, memfd, 0, LIMIT / 4 * PAGE, 0x100000)));
  REQUIRE(CHECK_OK(map_file(&s, memfd, LIMIT / 4 * PAGE, (LIMIT / 4 + 1) * PAGE, 0x200000)));
  const struct child c = change_process_in_child(s.iommufd, LIMIT);
  CHECK_EQ(c.result, ENOMEM);
  CHECK_EQ(status_kb(0, "VmPin"), (LIMIT / 2 + 1) * PAGE / 1024);
  finish(&c);
  CHECK_ERR(map_file(&s, memfd, 0, LIMIT / 2 * PAGE, 0x300000), ENOMEM);
  CHECK_OK(map_file(&s, memfd, 0, (LIMIT / 2 - 1) * PAGE, 0x300000));
}

TEST(P05c, "CHANGE_PROCESS of a child whose own limit is too small: ENOMEM; the counters of both are as they were") {
  const struct space s = set_up(true);
  const int memfd = make_memfd(LIMIT * PAGE);
  REQUIRE(CHECK_OK(map_file(&s, memfd, 0, LIMIT / 4 * PAGE, 0x100000)));
  const struct child c = change_process_in_child(s.iommufd, LIMIT / 2 - 1);
  CHECK_EQ(c.result, ENOMEM);
  CHECK_EQ(status_kb(0, "VmPin"), LIMIT / 4 * PAGE / 1024);
  CHECK_EQ(status_kb(c.pid, "VmPin"), 0);
  finish(&c);
  const struct child enough = change_process_in_child(s.iommufd, LIMIT / 2); /* both charges at a time */
  CHECK_EQ(enough.result, 0);
  CHECK_EQ(status_kb(0, "VmPin"), 0);
  finish(&enough);
}

TEST(P06, "in process mode CHANGE_PROCESS moves the charge from one process to the other") {
  struct iommu_option mode = {
      .size = sizeof(mode), .option_id = IOMMU_OPTION_RLIMIT_MODE, .op = IOMMU_OPTION_OP_SET, .val64 = 1};
  struct space s = {.iommufd = open_iommufd()};
  const int memfd = make_memfd(LIMIT * PAGE);
  if (ioctl(s.iommufd, IOMMU_OPTION, &mode) != 0 && errno == EPERM) SKIP("needs CAP_SYS_RESOURCE");
  s.ioas = ioas_alloc(s.iommufd);
  s.dev = open_and_bind(BEHIND_IOMMU, 0, s.iommufd);
  REQUIRE(CHECK_OK(attach_to(&s.dev, s.ioas)));
  REQUIRE(CHECK_OK(map_file(&s, memfd, 0, LIMIT * PAGE, 0x100000)));
  CHECK_ERR(map_file(&s, memfd, 0, PAGE, 0x200000), ENOMEM);
  CHECK_EQ(status_kb(0, "VmPin"), 256);
  CHECK_EQ(status_kb(0, "VmLck"), 256);
  const struct child c = change_process_in_child(s.iommufd, LIMIT);
  CHECK_EQ(c.result, 0);
  CHECK_EQ(status_kb(0, "VmPin"), 0);
  CHECK_EQ(status_kb(0, "VmLck"), 0);
  CHECK_OK(map_file(&s, memfd, 0, LIMIT * PAGE, 0x200000));
  const struct child full = change_process_in_child(s.iommufd, LIMIT);
  CHECK_EQ(full.result, ENOMEM);
  finish(&full);
  REQUIRE(CHECK_OK(unmap(s.iommufd, s.ioas, 0x200000, LIMIT * PAGE)));
  finish(&c);
  CHECK_OK(unmap(s.iommufd, s.ioas, 0x100000, LIMIT * PAGE)); /* charged to a process that is gone */
  CHECK_OK(map_file(&s, memfd, 0, LIMIT * PAGE, 0x100000));
}

/* ---- a limit of 0 ------------------------------------------------------------------------------------ */

SECTION("iommufd-core 4.4");

TEST(F20, "with a limit of 0 a file cannot be mapped where it is pinned: ENOMEM; without a domain it can") {
  const struct space s = set_up(true);
  const uint32_t idle = ioas_alloc(s.iommufd);
  const int memfd = make_memfd(PAGE);
  struct space elsewhere = s;
  elsewhere.ioas = idle;
  CHECK_OK(set_limit(0));
  CHECK_ERR(map_file(&s, memfd, 0, PAGE, 0x100000), ENOMEM);
  CHECK_OK(map_file(&elsewhere, memfd, 0, PAGE, 0x100000));
  CHECK_EQ(status_kb(0, "VmPin"), 0);
  CHECK_OK(set_limit(1)); /* counts when it is pinned, not before */
  CHECK_OK(map_file(&s, memfd, 0, PAGE, 0x100000));
  CHECK_OK(set_limit(LIMIT));
}

TEST(F21, "with a limit of 0 a buffer of a device can be mapped, and VmPin does not count it") {
  const int fd = open_test_iommufd();
  const uint32_t ioas = ioas_alloc(fd);
  const int buffer = keep(word_op(fd, OP_DMABUF_GET, 0, 2 * PAGE, O_CLOEXEC));
  REQUIRE(CHECK_OK(buffer));
  mock_domain(fd, ioas);
  CHECK_OK(set_limit(0));
  CHECK_OK(map_file_fixed(fd, ioas, buffer, 0, 2 * PAGE, APERTURE));
  CHECK_ERR(map_fixed(fd, ioas, pages(PAGE), PAGE, APERTURE + 0x10000), ENOMEM);
  CHECK_EQ(status_kb(0, "VmPin"), 0);
  CHECK_OK(set_limit(LIMIT));
}

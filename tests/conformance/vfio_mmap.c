/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mappings of BAR 0 (spec vfio-device 4, 11, 19) of an edu device that offers it (iommufd-user: mmap=on): all mappings of a
 * device show the same registers, by whichever descriptor, and keep the device open. IOMMUFD_TEST_KIND, IOMMUFD_TEST_WAY: group.h.
 */
#define _GNU_SOURCE
#include <signal.h>

#include "group.h"

#define BAR_SIZE 0x100000u
#define ID 0x010000edu

static struct edu mappable(const struct edu e) {
  struct vfio_region_info info;
  REQUIRE(CHECK_OK(region_info(&e.dev, 0, &info)));
  if (!(info.flags & VFIO_REGION_INFO_FLAG_MMAP)) SKIP("BAR 0 cannot be mapped");
  return e;
}

static struct edu opened(void) { return mappable(edu_from(device_in_use())); }

static struct edu opened_by_node(int iommufd) { return mappable(edu_open(kind(), 0, iommufd)); }

static volatile uint32_t* map(const struct edu* e, uint64_t offset, size_t length, int prot) {
  void* p = mmap(NULL, length, prot, MAP_SHARED, e->dev.fd, (off_t)(e->bar + offset));
  REQUIRE(CHECK(p != MAP_FAILED));
  return p;
}

static void unmap_all(volatile uint32_t* p, size_t length) { CHECK_OK(munmap((void*)(uintptr_t)p, length)); }

/* Stores a number into the liveness register of one mapping; true when the other shows its complement in time. */
static bool alive(volatile uint32_t* store, volatile uint32_t* show, uint32_t value) {
  store[EDU_LIVENESS / 4] = value;
  for (int i = 0; i < 2000; i++) {
    if (show[EDU_LIVENESS / 4] == ~value) return true;
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
  return false;
}

/* In a child; what it exits with, or 256 + the signal that ended it. */
static int in_child(int (*f)(volatile uint32_t*), volatile uint32_t* p) {
  int status;
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGSEGV, SIG_DFL); /* not a sanitizer's */
    _exit(f(p));
  }
  REQUIRE(CHECK_EQ(waitpid(child, &status, 0), child));
  return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}

static bool can_bind(int iommufd) {
  struct vdev d = open_device(kind());
  const int r = bind_to(&d, iommufd);
  CHECK(r == 0 || errno == EINVAL);
  close_kept(d.fd);
  return r == 0;
}

SECTION("vfio-device 11");

TEST(MM01, "two mappings, by the descriptor and by its duplicate, show the same registers, and so do reads") {
  const struct edu e = opened();
  struct edu twin = e;
  twin.dev.fd = keep(dup(e.dev.fd));
  volatile uint32_t *a = map(&e, 0, BAR_SIZE, PROT_READ | PROT_WRITE), *b = map(&twin, 0, PAGE, PROT_READ | PROT_WRITE);
  CHECK_EQ(a[0], ID);
  CHECK_EQ(b[0], ID);
  CHECK(alive(a, b, 0x1111));
  CHECK(alive(b, a, 0x2222));
  CHECK_EQ(edu_read4(&e, EDU_LIVENESS), (uint32_t)~0x2222);
  edu_write4(&twin, EDU_LIVENESS, 0x3333);
  CHECK_EQ(a[EDU_LIVENESS / 4], (uint32_t)~0x3333);
  unmap_all(a, BAR_SIZE);
  unmap_all(b, PAGE);
}

TEST(MM02, "registers and the rest apart, the rest for stores alone; at any page of the BAR, not past its end") {
  const struct edu e = opened();
  volatile uint32_t *head = map(&e, 0, PAGE, PROT_READ | PROT_WRITE),
                    *rest = map(&e, PAGE, BAR_SIZE - PAGE, PROT_WRITE);
  CHECK(alive(head, head, 1));
  rest[0] = 1;
  rest[(BAR_SIZE - PAGE) / 4 - 1] = 1;
  CHECK(alive(head, head, 2));
  unmap_all(rest, BAR_SIZE - PAGE);
  unmap_all(head, PAGE);
  unmap_all(map(&e, BAR_SIZE - PAGE, PAGE, PROT_READ), PAGE);
  CHECK(mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, e.dev.fd, (off_t)(e.bar + BAR_SIZE - PAGE)) == MAP_FAILED &&
        errno == EINVAL);
  CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, e.dev.fd, (off_t)(e.bar + 1)) == MAP_FAILED && errno == EINVAL);
}

TEST(MM03, "MAP_FIXED over a reservation, MADV_HUGEPAGE, mprotect") {
  const struct edu e = opened();
  void* room = mmap(NULL, 2 * BAR_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(CHECK(room != MAP_FAILED));
  volatile uint32_t* p = mmap(room, BAR_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, e.dev.fd, (off_t)e.bar);
  REQUIRE(CHECK((void*)(uintptr_t)p == room));
  (void)madvise(room, BAR_SIZE, MADV_HUGEPAGE);
  CHECK(alive(p, p, 5));
  REQUIRE(CHECK_OK(mprotect(room, BAR_SIZE, PROT_READ)));
  CHECK_EQ(p[0], ID);
  REQUIRE(CHECK_OK(mprotect(room, BAR_SIZE, PROT_NONE)));
  REQUIRE(CHECK_OK(mprotect(room, BAR_SIZE, PROT_READ | PROT_WRITE)));
  CHECK(alive(p, p, 6));
  CHECK_OK(munmap(room, 2 * BAR_SIZE));
}

static int stores(volatile uint32_t* p) {
  p[EDU_LIVENESS / 4] = 0;
  return 0;
}

TEST(MM04, "a mapping that may only be read kills who stores; a descriptor that may only be read gives no other") {
  need_node();
  const int iommufd = open_iommufd();
  struct edu e = opened_by_node(iommufd);
  volatile uint32_t* p = map(&e, 0, PAGE, PROT_READ);
  CHECK_EQ(in_child(stores, p), 256 + SIGSEGV);
  unmap_all(p, PAGE);
  close_kept(e.dev.fd);
  e.dev.fd = keep(open_node(e.dev.name, O_RDONLY));
  REQUIRE(CHECK_OK(bind_to(&e.dev, iommufd)));
  CHECK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, e.dev.fd, (off_t)e.bar) == MAP_FAILED && errno == EACCES);
  unmap_all(map(&e, 0, PAGE, PROT_READ), PAGE);
}

TEST(MM05, "before BIND: EINVAL") {
  need_node();
  const struct edu e = opened();
  const struct vdev second = open_device(kind());
  CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, second.fd, (off_t)e.bar) == MAP_FAILED && errno == EINVAL);
}

TEST(MM06, "a mapping does not grow") {
  const struct edu e = opened();
  volatile uint32_t* p = map(&e, 0, PAGE, PROT_READ);
  void* grown = mremap((void*)(uintptr_t)p, PAGE, 2 * PAGE, MREMAP_MAYMOVE);
  CHECK_EQ(grown == MAP_FAILED ? errno : 0, known(EFAULT, 0));
  CHECK_OK(grown == MAP_FAILED ? munmap((void*)(uintptr_t)p, PAGE) : munmap(grown, 2 * PAGE));
}

SECTION("vfio-device 19");

TEST(MM10, "a mapping keeps the device open behind the last close; a part of one does, too") {
  need_node();
  const int iommufd = open_iommufd();
  struct edu e = opened_by_node(iommufd);
  volatile uint32_t* p = map(&e, 0, BAR_SIZE, PROT_READ | PROT_WRITE);
  close_kept(e.dev.fd);
  CHECK(!can_bind(iommufd));
  CHECK(alive(p, p, 7));
  unmap_all(p, PAGE);
  CHECK(!can_bind(iommufd));
  unmap_all(p + PAGE / 4, BAR_SIZE - PAGE);
  CHECK(can_bind(iommufd));
}

static int lives(volatile uint32_t* p) { return alive(p, p, 8) ? 0 : 1; }

TEST(MM11, "a child has the mapping, too, and keeps the device open with it") {
  need_node();
  const int iommufd = open_iommufd();
  struct edu e = opened_by_node(iommufd);
  volatile uint32_t* p = map(&e, 0, PAGE, PROT_READ | PROT_WRITE);
  int go[2], status;
  char byte = 0;
  CHECK_EQ(in_child(lives, p), 0);
  CHECK_EQ(p[EDU_LIVENESS / 4], (uint32_t)~8);
  REQUIRE(CHECK_OK(pipe(go)));
  const pid_t child = fork();
  if (child == 0) {
    close(e.dev.fd);
    _exit(read(go[0], &byte, 1) == 1 && lives(p) == 0 ? 0 : 1);
  }
  unmap_all(p, PAGE);
  close_kept(e.dev.fd);
  CHECK(!can_bind(iommufd));
  CHECK_EQ(write(go[1], &byte, 1), 1);
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  CHECK(can_bind(iommufd));
  close(go[0]);
  close(go[1]);
}

SECTION("vfio-device 18");

TEST(MM20, "by the group: two descriptors of a device show the same registers, and each keeps it open") {
  const struct setup s = set_up(0);
  struct edu first = edu_from(open_in_group(&s)), second = edu_from(open_in_group(&s));
  struct vfio_region_info info;
  REQUIRE(CHECK_OK(region_info(&first.dev, 0, &info)));
  if (!(info.flags & VFIO_REGION_INFO_FLAG_MMAP)) SKIP("BAR 0 cannot be mapped");
  CHECK_NE(first.dev.fd, second.dev.fd);
  volatile uint32_t *a = map(&first, 0, PAGE, PROT_READ | PROT_WRITE),
                    *b = map(&second, 0, BAR_SIZE, PROT_READ | PROT_WRITE);
  CHECK(alive(a, b, 0x1234));
  CHECK(alive(b, a, 0x4321));
  close_kept(first.dev.fd);
  unmap_all(a, PAGE);
  CHECK(alive(b, b, 9));
  CHECK_EQ(edu_read4(&second, EDU_LIVENESS), (uint32_t)~9);
  close_kept(second.dev.fd);
  CHECK(alive(b, b, 10));
  if (!way_is("iommufd")) CHECK_ERR(unset_container(s.group), EBUSY);
  unmap_all(b, BAR_SIZE);
  CHECK_OK(unset_container(s.group));
}

TEST(MM21,
     "by the group, when a mapping alone holds the device: one more descriptor of it (EBUSY), and after the mapping "
     "one") {
  const struct setup s = set_up(0);
  const struct edu first = edu_from(open_in_group(&s));
  struct vfio_region_info info;
  REQUIRE(CHECK_OK(region_info(&first.dev, 0, &info)));
  if (!(info.flags & VFIO_REGION_INFO_FLAG_MMAP)) SKIP("BAR 0 cannot be mapped");
  volatile uint32_t* p = map(&first, 0, PAGE, PROT_READ | PROT_WRITE);
  close_kept(first.dev.fd);
  CHECK_ERR(device_fd(s.group, s.device.bdf), known(0, EBUSY));
  CHECK(alive(p, p, 11)); /* the refusal has not ended it */
  unmap_all(p, PAGE);
  CHECK_OK(device_fd(s.group, s.device.bdf));
}

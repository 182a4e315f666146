/* SPDX-License-Identifier: BSD-3-Clause */
/* The memory of the client, as the engine reaches it: page by page, with the client's protection. */
#include "check.h"

#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static char* pages(size_t n, int prot) {
  char* p = mmap(NULL, n * 4096, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(p != MAP_FAILED);
  return p;
}

static void pointers(int fd) {
  char* p = pages(3, PROT_READ | PROT_WRITE);
  munmap(p + 8192, 4096);
  /* Straddles two pages. */
  struct echo_sum* s = (void*)(p + 4096 - 20);
  *s = (struct echo_sum){.size = sizeof(*s), .a = 3, .b = 4};
  CHECK(ioctl(fd, ECHO_SUM, s) == 0 && s->sum == 7);
  /* Ends at the last byte that is mapped; and one byte further. */
  s = (void*)(p + 8192 - sizeof(*s));
  *s = (struct echo_sum){.size = sizeof(*s), .a = 5, .b = 6};
  CHECK(ioctl(fd, ECHO_SUM, s) == 0 && s->sum == 11);
  CHECK_ERRNO(ioctl(fd, ECHO_SUM, (char*)s + 1), EFAULT);
  CHECK_ERRNO(ioctl(fd, ECHO_SUM, p + 8192), EFAULT);
  CHECK_ERRNO(ioctl(fd, ECHO_SUM, NULL), EFAULT);
  CHECK_ERRNO(ioctl(fd, ECHO_SUM, (void*)-8L), EFAULT);
  CHECK_ERRNO(ioctl(fd, ECHO_SUM, (void*)0xffffffff81000000UL), EFAULT);
  /* Readable only: the answer cannot be stored. */
  s = (void*)p;
  *s = (struct echo_sum){.size = sizeof(*s), .a = 1, .b = 1, .sum = 9};
  CHECK(mprotect(p, 4096, PROT_READ) == 0);
  CHECK_ERRNO(ioctl(fd, ECHO_SUM, s), EFAULT);
  CHECK(s->sum == 9);
  CHECK(mprotect(p, 4096, PROT_NONE) == 0);
  CHECK_ERRNO(ioctl(fd, ECHO_SUM, s), EFAULT);
  munmap(p, 8192);
  /* A path that straddles, and one that is nowhere. */
  p = pages(2, PROT_READ | PROT_WRITE);
  munmap(p + 4096, 4096);
  char* name = p + 4096 - sizeof("/dev/iommu");
  strcpy(name, "/dev/iommu");
  int other = open(name, O_RDWR);
  CHECK(other >= 0 && echoes(other));
  close(other);
  memset(p, '/', 4096);
  CHECK_ERRNO(open(p + 4000, O_RDWR), EFAULT);
  CHECK_ERRNO(open((char*)8, O_RDWR), EFAULT);
  munmap(p, 4096);
  char* long_path = malloc(8192);
  memset(long_path, '/', 8191);
  long_path[8191] = 0;
  CHECK_ERRNO(open(long_path, O_RDONLY), ENAMETOOLONG);
  free(long_path);
}

/* A transfer that is longer than what is mapped moves what is there. */
static void dma(int fd) {
  char* p = pages(4, PROT_READ | PROT_WRITE);
  struct echo_memory m = {.va = (uintptr_t)p + 100, .length = 8192, .access = 2, .value = 0x5a};
  CHECK(ioctl(fd, ECHO_DMA, &m) == 0);
  CHECK(p[99] == 0 && p[100] == 0x5a && p[8291] == 0x5a && p[8292] == 0);
  m = (struct echo_memory){.va = (uintptr_t)p + 100, .length = 8192, .access = 1};
  CHECK(ioctl(fd, ECHO_DMA, &m) == 0 && m.value == 8192 * 0x5a);
  CHECK(mprotect(p + 4096, 4096, PROT_READ) == 0);
  m = (struct echo_memory){.va = (uintptr_t)p, .length = 8192, .access = 2, .value = 1};
  CHECK_ERRNO(ioctl(fd, ECHO_DMA, &m), EFAULT);
  CHECK(p[4096] == 0x5a);
  munmap(p, 4 * 4096);
  m = (struct echo_memory){.va = (uintptr_t)p, .length = 1, .access = 1};
  CHECK_ERRNO(ioctl(fd, ECHO_DMA, &m), EFAULT);
}

static struct echo_memory populate(int fd, void* p, size_t length, uint32_t access, int expected) {
  struct echo_memory m = {.va = (uintptr_t)p, .length = length, .access = access};
  if (expected == 0)
    CHECK(ioctl(fd, ECHO_POPULATE, &m) == 0);
  else
    CHECK_ERRNO(ioctl(fd, ECHO_POPULATE, &m), expected);
  return m;
}

static void pins(int fd) {
  char* p = pages(3000, PROT_READ | PROT_WRITE);
  struct echo_memory m = populate(fd, p, 3000 * 4096, 3, 0);
  CHECK(m.pages == 3000 && m.runs == 1 && m.index == (uintptr_t)p / 4096 && m.page_size == 4096);
  CHECK((int)m.space == space_of(fd));
  unsigned char core[3000];
  CHECK(mincore(p, 3000 * 4096, core) == 0 && core[0] && core[2999]);
  CHECK(mprotect(p + 4096, 4096, PROT_READ) == 0);
  populate(fd, p, 3 * 4096, 1, 0);
  populate(fd, p, 3 * 4096, 2, EFAULT);
  CHECK(mprotect(p + 4096, 4096, PROT_NONE) == 0);
  populate(fd, p, 3 * 4096, 1, EFAULT);
  munmap(p + 4096, 4096);
  populate(fd, p, 3 * 4096, 1, EFAULT);
  populate(fd, p, 4096, 1, 0);
  munmap(p, 3000 * 4096);
  populate(fd, p, 4096, 1, EFAULT);
  populate(fd, (void*)0xfffffffffffff000UL, 4096, 1, EFAULT);

  /* Shared memory: one page has one key, wherever it is mapped, and in another process. */
  int shm = memfd_create("shared", MFD_CLOEXEC);
  CHECK(ftruncate(shm, 8 * 4096) == 0);
  char* a = mmap(NULL, 8 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, shm, 0);
  char* b = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, shm, 2 * 4096);
  struct echo_memory ma = populate(fd, a + 3 * 4096, 4096, 3, 0), mb = populate(fd, b + 4096, 4096, 3, 0);
  CHECK(ma.space == mb.space && ma.index == mb.index && ma.index == 3);
  pid_t pid = fork();
  if (pid == 0) {
    struct echo_memory mc = populate(fd, b + 4096, 4096, 3, 0);
    CHECK(mc.space == ma.space && mc.index == 3);
    _exit(0);
  }
  CHECK(wait_for(pid) == 0);
  /* Private mappings of a file are pages of their own. */
  char* c = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, shm, 0);
  CHECK((int)populate(fd, c, 4096, 3, 0).space == space_of(fd));
  /* Beyond the end of the file there is nothing. */
  CHECK(ftruncate(shm, 4096) == 0);
  populate(fd, a, 2 * 4096, 1, EFAULT);
  populate(fd, a, 4096, 1, 0);
  struct echo_memory m2 = {.va = (uintptr_t)a + 4096, .length = 16, .access = 2, .value = 1};
  CHECK_ERRNO(ioctl(fd, ECHO_DMA, &m2), EFAULT); /* its own DMA buffer, truncated */
  munmap(a, 8 * 4096);
  munmap(b, 4 * 4096);
  munmap(c, 4096);
  close(shm);

  /* Device memory cannot be pinned. */
  int device = open_device();
  char* bar = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, device, ECHO_REGION0);
  CHECK(bar != MAP_FAILED);
  populate(fd, bar, 4096, 1, EFAULT);
  munmap(bar, 4096);
  close(device);

  /* Huge pages, where there are any. */
  char* huge = mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
  if (huge != MAP_FAILED) {
    m = populate(fd, huge, 2 << 20, 3, 0);
    CHECK(m.page_size == 2 << 20 && m.pages == 512);
    munmap(huge, 2 << 20);
  }
}

static void limits(int fd) {
  struct rlimit r;
  CHECK(getrlimit(RLIMIT_MEMLOCK, &r) == 0);
  r.rlim_cur = 7 * 4096;
  CHECK(setrlimit(RLIMIT_MEMLOCK, &r) == 0);
  CHECK(ioctl(fd, ECHO_MEMLOCK) == 7);
}

static char* uffd_page;
static int uffd;

static void* resolve_fault(void* arg) {
  (void)arg;
  struct uffd_msg msg;
  CHECK(read(uffd, &msg, sizeof(msg)) == sizeof(msg));
  usleep(100000); /* the server's thread waits for us */
  char page[4096] __attribute__((aligned(4096))) = {0};
  struct echo_sum s = {.size = sizeof(s), .a = 20, .b = 1};
  memcpy(page, &s, sizeof(s));
  struct uffdio_copy copy = {.dst = (uintptr_t)uffd_page, .src = (uintptr_t)page, .len = 4096};
  CHECK(ioctl(uffd, UFFDIO_COPY, &copy) == 0);
  return NULL;
}

/* The struct lies on a page that comes when the client itself brings it: the server must wait, and nobody else must. */
static void userfault(int fd) {
  uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
  if (uffd < 0) {
    printf("userfaultfd for kernel faults is not allowed here: that part is skipped\n");
    return;
  }
  struct uffdio_api api = {.api = UFFD_API};
  CHECK(ioctl(uffd, UFFDIO_API, &api) == 0);
  uffd_page = pages(1, PROT_READ | PROT_WRITE);
  struct uffdio_register reg = {{(uintptr_t)uffd_page, 4096}, UFFDIO_REGISTER_MODE_MISSING, 0};
  CHECK(ioctl(uffd, UFFDIO_REGISTER, &reg) == 0);
  pthread_t t;
  CHECK(pthread_create(&t, NULL, resolve_fault, NULL) == 0);
  CHECK(ioctl(fd, ECHO_SUM, uffd_page) == 0);
  CHECK(((struct echo_sum*)uffd_page)->sum == 21);
  pthread_join(t, NULL);

  /* A fault that nobody resolves: the one who asks is stuck, until it is killed. */
  CHECK(madvise(uffd_page, 4096, MADV_DONTNEED) == 0);
  pid_t stuck[4];
  for (int i = 0; i < 4; i++) {
    stuck[i] = fork();
    if (stuck[i] == 0) {
      int own = syscall(SYS_userfaultfd, O_CLOEXEC);
      struct uffdio_api own_api = {.api = UFFD_API};
      CHECK(own >= 0 && ioctl(own, UFFDIO_API, &own_api) == 0);
      CHECK(ioctl(own, UFFDIO_REGISTER, &reg) == 0);
      ioctl(fd, ECHO_SUM, uffd_page);
      _exit(0);
    }
  }
  usleep(200000);
  for (int i = 0; i < 1000; i++) CHECK(echoes(fd));
  for (int i = 0; i < 4; i++) {
    kill(stuck[i], SIGKILL);
    CHECK(wait_for(stuck[i]) == 128 + SIGKILL);
  }
  for (int i = 0; i < 1000; i++) CHECK(echoes(fd));
  close(uffd);
}

int main(void) {
  int fd = open_iommu();
  pointers(fd);
  dma(fd);
  pins(fd);
  userfault(fd);
  limits(fd);
  return 0;
}

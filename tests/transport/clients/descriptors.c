/* SPDX-License-Identifier: BSD-3-Clause */
/* The identity of an open file follows the file, whatever number or process it is reached by. */
#include "check.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>

static void duplicates(void) {
  int fd = open_iommu();
  int high = dup(fd);
  int chosen = dup2(fd, 900);
  int low = fcntl(fd, F_DUPFD, 3);
  CHECK(high >= 0 && chosen == 900 && low >= 3 && low < 512);
  CHECK(ioctl(fd, ECHO_RESOLVE, high) == 2 && ioctl(low, ECHO_RESOLVE, chosen) == 2);
  CHECK(ioctl(fd, ECHO_OPENS) == 1);
  close(fd);
  close(high);
  CHECK(echoes(low) && echoes(chosen));
  CHECK(ioctl(low, ECHO_OPENS) == 1);
  /* A number means another file now. */
  int null = open("/dev/null", O_RDWR);
  CHECK(dup2(null, chosen) == chosen);
  CHECK(!echoes(chosen) && errno == ENOTTY);
  CHECK(echoes(low));
  close(null);
  close(chosen);
  close(low);
  fd = open_iommu();
  CHECK(ioctl(fd, ECHO_OPENS) == 1);
  close(fd);
}

static void forks(void) {
  int fd = open_iommu();
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    CHECK(echoes(fd));
    int own = open_iommu();
    CHECK(ioctl(own, ECHO_OPENS) == 2);
    pid_t grandchild = fork();
    if (grandchild == 0) {
      CHECK(echoes(fd) && echoes(own));
      _exit(0);
    }
    CHECK(wait_for(grandchild) == 0);
    _exit(0);
  }
  CHECK(wait_for(pid) == 0);
  CHECK(ioctl(fd, ECHO_OPENS) == 1);
  CHECK(echoes(fd));
  close(fd);
}

static void execs(char* self) {
  int fd = open("/dev/iommu", O_RDWR); /* survives an exec */
  int space = space_of(fd);
  CHECK(space > 0);
  char number[16], expected[16];
  snprintf(number, sizeof(number), "%d", fd);
  snprintf(expected, sizeof(expected), "%d", space);
  char* argv[] = {self, "exec", number, expected, NULL};
  pid_t pid = vfork();
  if (pid == 0) {
    execv(self, argv);
    _exit(9);
  }
  CHECK(wait_for(pid) == 0);
  /* A vfork child shares the memory until it execs; an exec that fails changes nothing. */
  volatile int shared = 0;
  pid = vfork();
  if (pid == 0) {
    shared = space_of(fd);
    execv("/nonexistent", argv);
    shared = space_of(fd) == shared ? shared : -1;
    _exit(0);
  }
  CHECK(wait_for(pid) == 0);
  CHECK(shared == space);
  CHECK(space_of(fd) == space);
  CHECK(execv("/nonexistent", argv) == -1);
  CHECK(space_of(fd) == space && echoes(fd));
  pid = fork();
  if (pid == 0) {
    CHECK(space_of(fd) != space);
    execv(self, argv);
    _exit(9);
  }
  CHECK(wait_for(pid) == 0);
  /* By a thread that is not the leader. */
  close(fd);
}

static int after_exec(const char* number, const char* space) {
  int fd = atoi(number);
  CHECK(echoes(fd));
  CHECK(space_of(fd) != atoi(space));
  return 0;
}

static void passing(void) {
  int pair[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  pid_t pid = fork();
  if (pid == 0) {
    int fd = open_device();
    unsigned char* map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, ECHO_REGION0);
    CHECK(map != MAP_FAILED);
    map[0] = 99;
    union {
      struct cmsghdr c;
      char b[CMSG_SPACE(sizeof(int))];
    } u;
    struct iovec iov = {"x", 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.b, .msg_controllen = sizeof(u.b)};
    struct cmsghdr* c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    CHECK(sendmsg(pair[1], &m, 0) == 1);
    _exit(0);
  }
  CHECK(wait_for(pid) == 0);
  /* The opener is dead; the file lives in the socket. */
  int iommu = open_iommu();
  CHECK(ioctl(iommu, ECHO_OPENS) == 2);
  union {
    struct cmsghdr c;
    char b[CMSG_SPACE(sizeof(int))];
  } u;
  char byte;
  struct iovec iov = {&byte, 1};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.b, .msg_controllen = sizeof(u.b)};
  CHECK(recvmsg(pair[0], &m, 0) == 1);
  int fd;
  memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
  CHECK(fd < 512);
  CHECK(echoes(fd) && ioctl(fd, ECHO_PEEK, 0) == 99);
  unsigned char in = 0;
  CHECK(pread(fd, &in, 1, ECHO_REGION0) == 1 && in == 99);
  close(fd);
  CHECK(ioctl(iommu, ECHO_OPENS) == 1);
  close(iommu);
  close(pair[0]);
  close(pair[1]);
}

static void* thread_body(void* arg) {
  int fd = *(int*)arg;
  for (int i = 0; i < 200; i++) CHECK(echoes(fd));
  int own = open_iommu();
  CHECK(echoes(own));
  close(own);
  return NULL;
}

static void threads(void) {
  int fd = open_iommu();
  pthread_t t[8];
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 8; i++) CHECK(pthread_create(&t[i], NULL, thread_body, &fd) == 0);
    for (int i = 0; i < 8; i++) pthread_join(t[i], NULL);
  }
  CHECK(ioctl(fd, ECHO_OPENS) == 1);
  close(fd);
}

static void* exec_body(void* arg) {
  char** argv = arg;
  execv(argv[0], argv);
  _exit(9);
}

/* An exec by a thread that is not the leader: its number changes to the leader's. */
static void thread_execs(char* self) {
  int fd = open("/dev/iommu", O_RDWR);
  pid_t pid = fork();
  if (pid == 0) {
    char number[16], space[16];
    snprintf(number, sizeof(number), "%d", fd);
    snprintf(space, sizeof(space), "%d", space_of(fd));
    char* argv[] = {self, "exec", number, space, NULL};
    pthread_t t;
    pthread_create(&t, NULL, exec_body, argv);
    pthread_join(t, NULL);
    _exit(8);
  }
  CHECK(wait_for(pid) == 0);
  close(fd);
}

static void* orphan_body(void* arg) {
  int fd = *(int*)arg;
  usleep(50000); /* the leader has ended */
  struct echo_memory m = {.va = (uint64_t)(uintptr_t)arg, .length = 4, .access = 1};
  _exit(echoes(fd) && ioctl(fd, ECHO_DMA, &m) == 0 ? 0 : 3);
}

/* A process whose leader thread has ended. */
static void no_leader(void) {
  static int fd;
  fd = open_iommu();
  pid_t pid = fork();
  if (pid == 0) {
    pthread_t t;
    pthread_create(&t, NULL, orphan_body, &fd);
    pthread_exit(NULL);
  }
  CHECK(wait_for(pid) == 0);
  close(fd);
}

static int clone_body(void* arg) { return echoes(*(int*)arg) ? 0 : 1; }

/* A process that shares the memory but not the descriptors, and the other way round. */
static void clones(void) {
  int fd = open_iommu();
  char* stack = malloc(65536);
  pid_t pid = clone(clone_body, stack + 65536, CLONE_VM | SIGCHLD, &fd);
  CHECK(pid > 0);
  CHECK(wait_for(pid) == 0);
  pid = clone(clone_body, stack + 65536, CLONE_FILES | SIGCHLD, &fd);
  CHECK(pid > 0);
  CHECK(wait_for(pid) == 0);
  free(stack);
  close(fd);
}

int main(int argc, char** argv) {
  if (argc == 4) return after_exec(argv[2], argv[3]);
  char self[4096];
  ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
  CHECK(n > 0);
  self[n] = 0;
  duplicates();
  forks();
  execs(self);
  passing();
  threads();
  thread_execs(self);
  no_leader();
  clones();
  return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What the engine holds of a client's memory stays what it was. `holding real` under --pin=real: private memory too.
 * `holding traced` under --pin=real: the client is being traced, so it cannot be, and the calls work all the same. */
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/time.h>

static int hold(int fd, void* p, size_t length) {
  struct echo_memory m = {.va = (uintptr_t)p, .length = length, .access = 3};
  return ioctl(fd, ECHO_HOLD, &m);
}

static int held_write(int fd, void* p, size_t length, int value) {
  struct echo_memory m = {.va = (uintptr_t)p, .length = length, .access = 2, .value = value};
  return ioctl(fd, ECHO_HELD_DMA, &m);
}

static int held_read(int fd, void* p, size_t length) {
  struct echo_memory m = {.va = (uintptr_t)p, .length = length, .access = 1};
  CHECK(ioctl(fd, ECHO_HELD_DMA, &m) == 0);
  return m.value;
}

static char* map(size_t length, int flags, int fd) {
  char* p = mmap(NULL, length, PROT_READ | PROT_WRITE, flags, fd, 0);
  CHECK(p != MAP_FAILED);
  return p;
}

static void* again(char* p, size_t length) {
  CHECK(munmap(p, length) == 0);
  void* q = mmap(p, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  CHECK(q == p);
  return q;
}

static void shared_file(int fd, int sealed) {
  int shm = memfd_create("buffer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  CHECK(ftruncate(shm, 8 * 4096) == 0);
  if (sealed) CHECK(fcntl(shm, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
  char *p = map(8 * 4096, MAP_SHARED, shm), *other = map(8 * 4096, MAP_SHARED, shm);
  CHECK(hold(fd, p + 4096, 4 * 4096) == 1); /* by loads and stores */
  again(p, 8 * 4096);                       /* the address is somebody else's now */
  CHECK(held_write(fd, p + 4096 + 100, 8192, 7) == 0);
  CHECK(other[4096 + 99] == 0 && other[4096 + 100] == 7 && other[4096 + 8291] == 7 && other[4096 + 8292] == 0);
  CHECK(p[4096 + 100] == 0);
  other[4096] = 5;
  CHECK(held_read(fd, p + 4096, 1) == 5);
  if (sealed) {
    CHECK_ERRNO(ftruncate(shm, 0), EPERM);
  } else {
    /* A client that cuts its DMA buffer short gets a fault; the server lives. */
    CHECK(ftruncate(shm, 0) == 0);
    CHECK_ERRNO(held_write(fd, p + 4096, 1, 1), EFAULT);
  }
  munmap(p, 8 * 4096);
  munmap(other, 8 * 4096);
  close(shm);
}

/* Nobody has the file open: it is held by way of its mapping where that is allowed, and followed elsewhere. */
static void closed_file(int fd) {
  int shm = memfd_create("buffer", MFD_CLOEXEC), way;
  char path[64];
  CHECK(ftruncate(shm, 4096) == 0);
  char* p = map(4096, MAP_SHARED, shm);
  close(shm);
  snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long)p, (unsigned long)p + 4096);
  way = open(path, O_RDWR | O_CLOEXEC);
  if (way >= 0) close(way);
  CHECK(hold(fd, p, 4096) == (way >= 0));
  CHECK(held_write(fd, p, 4096, 3) == 0 && p[4095] == 3);
  munmap(p, 4096);
  if (way >= 0) {
    CHECK(held_write(fd, p, 1, 1) == 0);
  } else {
    CHECK_ERRNO(held_write(fd, p, 1, 1), EFAULT);
  }
}

/* Without real pins, private memory is followed by its address. */
static void followed(int fd) {
  char* p = map(4 * 4096, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  CHECK(hold(fd, p, 4 * 4096) == 0);
  CHECK(held_write(fd, p, 4096, 3) == 0 && p[0] == 3);
  again(p, 4 * 4096);
  CHECK(held_write(fd, p, 4096, 4) == 0 && p[0] == 4);
  munmap(p, 4 * 4096);
  CHECK_ERRNO(held_write(fd, p, 1, 1), EFAULT);
}

static void pinned(int fd) {
  enum { kLength = 64 * 4096 };
  char* p = map(kLength + 4096, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  memset(p, 1, kLength);
  CHECK(mprotect(p + kLength, 4096, PROT_NONE) == 0);
  CHECK(hold(fd, p, kLength) == 0);
  CHECK(held_read(fd, p, kLength) == kLength);
  CHECK(held_write(fd, p + 4000, 200, 2) == 0);
  CHECK(p[3999] == 1 && p[4000] == 2 && p[4199] == 2 && p[4200] == 1);
  /* Copy-on-write goes to the child, not to the pages that are held. */
  pid_t pid = fork();
  if (pid == 0) {
    p[0] = 9;
    _exit(p[0] == 9 ? 0 : 1);
  }
  CHECK(wait_for(pid) == 0);
  p[1] = 8;
  CHECK(held_read(fd, p, 2) == 1 + 8);
  CHECK(held_write(fd, p, 2, 6) == 0 && p[0] == 6 && p[1] == 6);
  /* The pages stay when the client gives them away. */
  CHECK(madvise(p + 8192, 4096, MADV_DONTNEED) == 0);
  CHECK(p[8192] == 0);
  CHECK(held_read(fd, p + 8192, 4096) == 4096);
  CHECK(held_write(fd, p + 8192, 4096, 5) == 0);
  CHECK(p[8192] == 0);
  again(p, kLength);
  CHECK(held_write(fd, p, kLength, 4) == 0);
  CHECK(p[0] == 0 && p[kLength - 1] == 0);
  CHECK(held_read(fd, p, kLength) == 4 * kLength);
  /* What lies beyond is not held. */
  CHECK_ERRNO(held_write(fd, p + kLength - 1, 2, 1), EFAULT);
  munmap(p, kLength + 4096);

  /* Many, one after the other; no descriptor is left behind. */
  int before = dup(fd);
  close(before);
  for (int i = 0; i < 200; i++) {
    p = map(2 * 4096, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    CHECK(hold(fd, p, 2 * 4096) == 0);
    CHECK(held_write(fd, p, 8192, 1 + i % 100) == 0 && p[8191] == 1 + i % 100);
    munmap(p, 2 * 4096);
  }
  int after = dup(fd);
  CHECK(after == before);
  close(after);
  /* Errors are the same as without. */
  CHECK_ERRNO(hold(fd, p, 4096), EFAULT);
}

static volatile int stop;
static volatile sig_atomic_t hits;
static void on_alarm(int s) {
  (void)s;
  hits++;
}

static void* others(void* arg) {
  int fd = *(int*)arg;
  while (!stop) CHECK(echoes(fd));
  return NULL;
}

/* Signals and other threads while a thread is held. */
static void busy(int fd) {
  struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
  struct itimerval tick = {{0, 200}, {0, 200}}, off = {{0, 0}, {0, 0}};
  pthread_t t[2];
  sigset_t set, seen;
  for (int i = 0; i < 2; i++) pthread_create(&t[i], NULL, others, &fd);
  CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  CHECK(pthread_sigmask(SIG_SETMASK, &set, NULL) == 0);
  CHECK(setitimer(ITIMER_REAL, &tick, NULL) == 0);
  char* p = map(4096, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  for (int i = 0; i < 300; i++) {
    CHECK(hold(fd, p, 4096) == 0);
    CHECK(held_write(fd, p, 4096, 1 + i % 100) == 0 && p[0] == 1 + i % 100);
  }
  CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
  CHECK(pthread_sigmask(SIG_SETMASK, NULL, &seen) == 0);
  CHECK(sigismember(&seen, SIGUSR2) && !sigismember(&seen, SIGALRM) && !sigismember(&seen, SIGTRAP));
  CHECK(hits > 0);
  stop = 1;
  for (int i = 0; i < 2; i++) pthread_join(t[i], NULL);
  munmap(p, 4096);
}

/* Killed while it is held. */
static void killed(int fd) {
  for (int i = 0; i < 20; i++) {
    pid_t pid = fork();
    if (pid == 0) {
      char* p = map(4096, MAP_PRIVATE | MAP_ANONYMOUS, -1);
      for (;;) hold(fd, p, 4096);
    }
    usleep(3000 + 500 * i);
    kill(pid, SIGKILL);
    CHECK(wait_for(pid) == 128 + SIGKILL);
    CHECK(echoes(fd));
  }
}

static void traced(void) {
  pid_t pid = fork();
  if (pid == 0) {
    CHECK(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0);
    raise(SIGSTOP);
    int fd = open_iommu();
    followed(fd);
    shared_file(fd, 0);
    _exit(0);
  }
  int status;
  CHECK(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
  for (;;) {
    CHECK(ptrace(PTRACE_SYSCALL, pid, 0, 0) == 0);
    CHECK(waitpid(pid, &status, 0) == pid);
    if (WIFEXITED(status) || WIFSIGNALED(status)) break;
  }
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(int argc, char** argv) {
  const char* how = argc > 1 ? argv[1] : "";
  if (strcmp(how, "traced") == 0) {
    traced();
    return 0;
  }
  int fd = open_iommu();
  shared_file(fd, 0);
  shared_file(fd, 1);
  closed_file(fd);
  if (strcmp(how, "real") == 0) {
    pinned(fd);
    busy(fd);
    killed(fd);
  } else {
    followed(fd);
  }
  return 0;
}

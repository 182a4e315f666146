/* SPDX-License-Identifier: BSD-3-Clause */
/* A close is seen before the next request, always; also the one that a death makes. */
#include "check.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>

static void reopen_many_times(void) {
  int iommu = open_iommu();
  int refused = 0;
  for (int i = 0; i < 1000; i++) {
    int fd = open_device();
    if (ioctl(fd, ECHO_CLAIM) != 0) refused++;
    close(fd);
  }
  CHECK(refused == 0);
  CHECK(ioctl(iommu, ECHO_OPENS) == 1);
  close(iommu);
}

/* The memory keeps the file, as with a kernel device. */
static void mapping_keeps_it(void) {
  int iommu = open_iommu();
  int fd = open_device();
  CHECK(ioctl(fd, ECHO_CLAIM) == 0);
  char* map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, ECHO_REGION0);
  CHECK(map != MAP_FAILED);
  close(fd);
  CHECK(ioctl(iommu, ECHO_OPENS) == 2);
  map[0] = 1;
  munmap(map, 4096);
  CHECK(ioctl(iommu, ECHO_OPENS) == 1);
  close(iommu);
}

/* Killed while it has the device: the next one gets it at once, also from the middle of a call, which goes on for a while. */
static void killed_owner(void) {
  for (int i = 0; i < 50; i++) {
    int ready[2];
    CHECK(pipe(ready) == 0);
    pid_t pid = fork();
    if (pid == 0) {
      int fd = open_device();
      CHECK(ioctl(fd, ECHO_CLAIM) == 0);
      CHECK(write(ready[1], "r", 1) == 1);
      if (i % 2 == 0) ioctl(fd, ECHO_SLEEP, i == 0 ? 2500 : 30);
      for (;;) pause();
    }
    char c;
    CHECK(read(ready[0], &c, 1) == 1);
    if (i % 2 == 0) usleep(2000);
    kill(pid, SIGKILL);
    CHECK(wait_for(pid) == 128 + SIGKILL);
    int fd = open_device();
    CHECK(ioctl(fd, ECHO_CLAIM) == 0);
    close(fd);
    close(ready[0]);
    close(ready[1]);
  }
}

/* The call of one that was killed holds up nobody who does not want what it has, and no second one that is killed too. */
static void waits_for_the_killed(void) {
  int ready[2];
  CHECK(pipe(ready) == 0);
  pid_t first = fork();
  if (first == 0) {
    int fd = open_device();
    CHECK(ioctl(fd, ECHO_CLAIM) == 0);
    CHECK(write(ready[1], "r", 1) == 1);
    ioctl(fd, ECHO_SLEEP, 1000);
    _exit(1);
  }
  char c;
  CHECK(read(ready[0], &c, 1) == 1);
  usleep(50000);
  int living = open_device();
  CHECK(ioctl(living, ECHO_CLAIM) < 0 && errno == EBUSY); /* it lives */
  kill(first, SIGKILL);
  CHECK(wait_for(first) == 128 + SIGKILL);
  pid_t second = fork();
  if (second == 0) _exit(ioctl(living, ECHO_CLAIM) == 0 ? 0 : 1);
  usleep(50000);
  CHECK(echoes(living)); /* while the second one waits */
  kill(second, SIGKILL);
  CHECK(wait_for(second) == 128 + SIGKILL);
  CHECK(ioctl(living, ECHO_CLAIM) == 0);
  close(living);
  close(ready[0]);
  close(ready[1]);
}

/* A call that takes its time holds nobody else up for long. */
static void slow_calls(void) {
  int fd = open_iommu();
  pid_t pids[6];
  for (int i = 0; i < 6; i++) {
    pids[i] = fork();
    if (pids[i] == 0) _exit(ioctl(fd, ECHO_SLEEP, 1500) == 0 ? 0 : 1);
  }
  usleep(100000);
  struct timespec a, b;
  clock_gettime(CLOCK_MONOTONIC, &a);
  for (int i = 0; i < 100; i++) CHECK(echoes(fd));
  clock_gettime(CLOCK_MONOTONIC, &b);
  double ms = (b.tv_sec - a.tv_sec) * 1e3 + (b.tv_nsec - a.tv_nsec) / 1e6;
  CHECK(ms < 1000);
  for (int i = 0; i < 6; i++) CHECK(wait_for(pids[i]) == 0);
  close(fd);
}

/* Closed by another thread of control in the middle of a call: the call ends, then the file. */
static void close_during_call(void) {
  int fd = open_device();
  int iommu = open_iommu();
  CHECK(ioctl(fd, ECHO_CLAIM) == 0);
  pid_t pid = fork();
  if (pid == 0) _exit(ioctl(fd, ECHO_SLEEP, 300) == 0 ? 0 : 1);
  usleep(100000);
  close(fd); /* the child still has it */
  CHECK(ioctl(iommu, ECHO_OPENS) == 2);
  CHECK(wait_for(pid) == 0);
  CHECK(ioctl(iommu, ECHO_OPENS) == 1);
  close(iommu);
}

int main(void) {
  reopen_many_times();
  mapping_keeps_it();
  killed_owner();
  waits_for_the_killed();
  slow_calls();
  close_during_call();
  return 0;
}

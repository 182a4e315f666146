/* SPDX-License-Identifier: BSD-3-Clause */
/* Many files, and few descriptor numbers. */
#include "check.h"

#include <signal.h>
#include <sys/resource.h>

static void set_limit(rlim_t n) {
  struct rlimit r;
  CHECK(getrlimit(RLIMIT_NOFILE, &r) == 0);
  r.rlim_cur = n;
  CHECK(setrlimit(RLIMIT_NOFILE, &r) == 0);
}

/* No number from 512 on: the lowest free one will do, and then there are no more. */
static void few_numbers(void) {
  set_limit(64);
  int fds[64], n = 0;
  while (n < 64) {
    int fd = open("/dev/iommu", O_RDWR);
    if (fd < 0) break;
    CHECK(fd < 64);
    fds[n++] = fd;
  }
  CHECK(errno == EMFILE);
  CHECK(n > 40);
  for (int i = 0; i < n; i++) CHECK(echoes(fds[i]));
  CHECK(ioctl(fds[0], ECHO_OPENS) == n);
  CHECK(close(fds[1]) == 0);
  int again = open_iommu();
  CHECK(again == fds[1]);
  for (int i = 0; i < n; i++) close(fds[i]);
  int fd = open_iommu();
  CHECK(ioctl(fd, ECHO_OPENS) == 1);
  close(fd);
}

/* The numbers from 512 on are used up: then the others, and then there are no more. */
static void used_up(void) {
  set_limit(600);
  int fds[600], n = 0;
  while ((fds[n] = open("/dev/iommu", O_RDWR)) >= 0) n++;
  CHECK(errno == EMFILE);
  CHECK(n > 560);
  int low = 0;
  for (int i = 0; i < n; i++) low += fds[i] < 512;
  CHECK(low > 480);
  for (int i = 0; i < n; i++) close(fds[i]);
}

static void reuse(void) {
  set_limit(1024);
  int a = open_iommu(), b = open_iommu();
  CHECK(a >= 512 && b >= 512);
  close(a);
  int c = open_iommu();
  CHECK(c == a); /* a freed number is given again */
  close(b);
  close(c);
  for (int i = 0; i < 2000; i++) {
    int fd = open_iommu();
    CHECK(fd >= 512);
    close(fd);
  }
}

static void many(void) {
  struct rlimit r;
  CHECK(getrlimit(RLIMIT_NOFILE, &r) == 0);
  if (r.rlim_max < 10600) {
    printf("RLIMIT_NOFILE is below 10,600 here: that part is skipped\n");
    return;
  }
  set_limit(10600);
  static int fds[10000];
  for (int i = 0; i < 10000; i++) {
    fds[i] = open("/dev/iommu", O_RDWR);
    if (fds[i] < 0 && errno == ENFILE) {
      printf("%d opens, then inotify has no more watches\n", i);
      for (int j = 0; j < i; j++) close(fds[j]);
      return;
    }
    CHECK(fds[i] >= 0);
  }
  CHECK(ioctl(fds[0], ECHO_OPENS) == 10000);
  CHECK(echoes(fds[9999]) && echoes(fds[5000]));
  /* They end all at once. */
  pid_t pid = fork();
  if (pid == 0) _exit(0);
  CHECK(wait_for(pid) == 0);
  CHECK(ioctl(fds[0], ECHO_OPENS) == 10000);
  for (int i = 1; i < 10000; i++) close(fds[i]);
  CHECK(ioctl(fds[0], ECHO_OPENS) == 1);
  close(fds[0]);
  int fd = open_iommu();
  CHECK(ioctl(fd, ECHO_OPENS) == 1);
  close(fd);
}

/* 10,000 files of a process that dies: their closes come in one burst. */
static void burst(void) {
  pid_t pid = fork();
  if (pid == 0) {
    for (int i = 0; i < 10000; i++)
      if (open("/dev/vfio/devices/vfio0", O_RDWR) < 0) break;
    kill(getpid(), SIGKILL);
  }
  CHECK(wait_for(pid) == 128 + SIGKILL);
  int fd = open_iommu();
  CHECK(ioctl(fd, ECHO_OPENS) == 1);
  close(fd);
}

int main(void) {
  reuse();
  few_numbers();
  used_up();
  many();
  burst();
  return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Ends as it is told to: `program exit N | signal N | stop | lines | leave | claim`. */
#include "check.h"

#include <signal.h>

static volatile sig_atomic_t seen;
static void on_signal(int s) { seen = s; }

int main(int argc, char** argv) {
  CHECK(argc >= 2);
  const char* what = argv[1];
  int n = argc > 2 ? atoi(argv[2]) : 0;
  if (strcmp(what, "exit") == 0) return n;
  if (strcmp(what, "signal") == 0) {
    signal(n, SIG_DFL);
    raise(n);
    pause();
  }
  if (strcmp(what, "catch") == 0) { /* says when it is ready, and what it got */
    struct sigaction sa = {.sa_handler = on_signal};
    for (int s = 1; s < 32; s++) sigaction(s, &sa, NULL);
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    sigprocmask(SIG_BLOCK, &all, NULL);
    puts("ready");
    fflush(stdout);
    while (!seen) sigsuspend(&none);
    printf("got %d\n", (int)seen);
    return 0;
  }
  if (strcmp(what, "wait") == 0) { /* holds the device until it is ended */
    int fd = open_device();
    CHECK(ioctl(fd, ECHO_CLAIM) == 0);
    printf("pid %d\n", getpid());
    fflush(stdout);
    for (;;) pause();
  }
  if (strcmp(what, "leave") == 0) { /* leaves a child behind that goes on using the file */
    int fd = open_iommu();
    if (fork() == 0) {
      fclose(stdin), fclose(stdout), fclose(stderr);
      for (int i = 0; i < n; i++) {
        usleep(10000);
        if (!echoes(fd)) _exit(1);
      }
      int out = open(argv[3], O_WRONLY | O_CREAT, 0600);
      _exit(write(out, "done\n", 5) == 5 ? 0 : 1);
    }
    return 0;
  }
  return 64;
}

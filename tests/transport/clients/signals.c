/* SPDX-License-Identifier: BSD-3-Clause */
/* Signals while calls are being answered: nothing is done twice, nothing is lost. */
#include "check.h"

#include <signal.h>
#include <sys/time.h>

static volatile sig_atomic_t hits;
static void on_alarm(int s) {
  (void)s;
  hits++;
}

/* The timer fires all the time, and the handler has no SA_RESTART: a call that the server has received completes. One that
 * it had not received yet may answer EINTR, and then was not done. */
static void without_restart(void) {
  struct sigaction sa = {.sa_handler = on_alarm};
  struct itimerval tick = {{0, 100}, {0, 100}}, off = {{0, 0}, {0, 0}};
  int fd = open_iommu();
  struct echo_sum s = {.size = sizeof(s)};
  CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
  CHECK(setitimer(ITIMER_REAL, &tick, NULL) == 0);
  uint64_t done = 0, interrupted = 0;
  for (int i = 0; i < 20000; i++) {
    s.a = i;
    s.b = 1;
    if (ioctl(fd, ECHO_SUM, &s) == 0) {
      CHECK(s.sum == (uint64_t)i + 1);
      done++;
    } else {
      CHECK(errno == EINTR);
      interrupted++;
    }
  }
  CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
  CHECK(hits > 0);
  CHECK(ioctl(fd, ECHO_SUM, &s) == 0);
  CHECK(s.calls == done + 1);
  printf("%d signals, %llu calls interrupted before they began\n", (int)hits, (unsigned long long)interrupted);
  close(fd);
}

static void with_restart(void) {
  struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
  struct itimerval tick = {{0, 100}, {0, 100}}, off = {{0, 0}, {0, 0}};
  int fd = open_iommu();
  struct echo_sum s = {.size = sizeof(s)};
  CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
  CHECK(setitimer(ITIMER_REAL, &tick, NULL) == 0);
  for (int i = 0; i < 20000; i++) CHECK(ioctl(fd, ECHO_SUM, &s) == 0);
  CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
  CHECK(s.calls == 20000);
  close(fd);
}

/* A long call is not interrupted by a signal with a handler (WAIT_KILLABLE_RECV), and is by a fatal one. */
static void long_calls(void) {
  struct sigaction sa = {.sa_handler = on_alarm};
  struct itimerval once = {{0, 0}, {0, 50000}};
  int fd = open_iommu();
  hits = 0;
  CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
  CHECK(setitimer(ITIMER_REAL, &once, NULL) == 0);
  CHECK(ioctl(fd, ECHO_SLEEP, 200) == 0);
  CHECK(hits == 1);
  pid_t pid = fork();
  if (pid == 0) {
    ioctl(fd, ECHO_SLEEP, 60000);
    _exit(0);
  }
  usleep(50000);
  kill(pid, SIGKILL);
  CHECK(wait_for(pid) == 128 + SIGKILL);
  CHECK(echoes(fd));
  close(fd);
}

int main(void) {
  without_restart();
  with_restart();
  long_calls();
  return 0;
}

// SPDX-License-Identifier: BSD-3-Clause
// What the transport asks of a kernel, each tried once: proves that a test machine offers it. Prints one line per item
// and exits with the number of those that are missing.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

static int missing;

static void report(const char* what, int there) {
  printf("%-34s %s%s%s\n", what, there ? "yes" : "NO", there ? "" : ": ", there ? "" : strerror(errno));
  fflush(stdout);
  missing += !there;
}

static int listen_to_getppid(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                      SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &program);
}

// The client makes one call that the parent answers, after reading and writing the client's memory.
static void notifications(void) {
  static volatile long cell = 41;
  int shared[2];
  if (pipe(shared) != 0) {
    report("pipe", 0);
    return;
  }
  const pid_t client = fork();
  if (client == 0) {
    const int listener = listen_to_getppid();
    if (write(shared[1], &listener, sizeof(listener)) != (ssize_t)sizeof(listener)) _exit(3);
    const long answer = syscall(SYS_getppid);
    _exit(answer == 1234 && cell == 42 && fcntl(600, F_GETFD) >= 0 ? 0 : 1);
  }
  int listener = -1;
  if (read(shared[0], &listener, sizeof(listener)) != (ssize_t)sizeof(listener)) listener = -1;
  report("seccomp notify, WAIT_KILLABLE_RECV", listener >= 0);
  const int pidfd = (int)syscall(SYS_pidfd_open, client, 0);
  report("pidfd_open", pidfd >= 0);
  const int mine = (int)syscall(SYS_pidfd_getfd, pidfd, listener, 0);
  report("pidfd_getfd", mine >= 0);

  struct seccomp_notif request;
  memset(&request, 0, sizeof(request));
  report("NOTIF_RECV", ioctl(mine, SECCOMP_IOCTL_NOTIF_RECV, &request) == 0);
  long value = 0;
  struct iovec here = {&value, sizeof(value)};
  struct iovec there = {(void*)&cell, sizeof(cell)};
  report("process_vm_readv", process_vm_readv(client, &here, 1, &there, 1, 0) == (ssize_t)sizeof(value) && value == 41);
  value = 42;
  report("process_vm_writev", process_vm_writev(client, &here, 1, &there, 1, 0) == (ssize_t)sizeof(value));
  report("NOTIF_ID_VALID", ioctl(mine, SECCOMP_IOCTL_NOTIF_ID_VALID, &request.id) == 0);
  const int memfd = (int)syscall(SYS_memfd_create, "probe", MFD_ALLOW_SEALING | MFD_CLOEXEC);
  report("memfd seals",
         ftruncate(memfd, 4096) == 0 && fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0);
  struct seccomp_notif_addfd add = {
      .id = request.id, .flags = SECCOMP_ADDFD_FLAG_SETFD, .srcfd = (unsigned)memfd, .newfd = 600};
  report("NOTIF_ADDFD at 600", ioctl(mine, SECCOMP_IOCTL_NOTIF_ADDFD, &add) == 600);
  struct seccomp_notif_resp answer = {.id = request.id, .val = 1234};
  report("NOTIF_SEND", ioctl(mine, SECCOMP_IOCTL_NOTIF_SEND, &answer) == 0);
  int status = 0;
  waitpid(client, &status, 0);
  report("the client saw all of it", WIFEXITED(status) && WEXITSTATUS(status) == 0);
  close(memfd);
  close(mine);
  close(pidfd);
  close(shared[0]);
  close(shared[1]);
}

static void close_events(void) {
  const int memfd = (int)syscall(SYS_memfd_create, "close", MFD_CLOEXEC);
  char path[64];
  snprintf(path, sizeof(path), "/proc/self/fd/%d", memfd);
  const int again = open(path, O_RDWR | O_CLOEXEC);
  const int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  const int added = inotify_add_watch(watch, path, IN_CLOSE);
  close(again);
  struct pollfd wait = {.fd = watch, .events = POLLIN};
  report("inotify IN_CLOSE on a memfd", added >= 0 && poll(&wait, 1, 1000) == 1);
  close(watch);
  close(memfd);
}

static void passed_descriptor(void) {
  int pair[2];
  char byte = 'x';
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control;
  struct iovec data = {&byte, 1};
  struct msghdr message = {
      .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof(control.space)};
  memset(&control, 0, sizeof(control));
  control.header.cmsg_level = SOL_SOCKET;
  control.header.cmsg_type = SCM_RIGHTS;
  control.header.cmsg_len = CMSG_LEN(sizeof(int));
  const int zero = 0;
  memcpy(CMSG_DATA(&control.header), &zero, sizeof(zero));
  const int good = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0 &&
                   sendmsg(pair[0], &message, 0) == 1 && recvmsg(pair[1], &message, 0) == 1 &&
                   control.header.cmsg_type == SCM_RIGHTS;
  report("SCM_RIGHTS", good);
}

static void namespaces(void) {
  const pid_t child = fork();
  if (child == 0) _exit(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 ? 0 : errno);
  int status = 0;
  waitpid(child, &status, 0);
  errno = WEXITSTATUS(status);
  report("user and mount namespaces", status == 0);
}

int main(void) {
  struct rlimit locked;
  getrlimit(RLIMIT_MEMLOCK, &locked);
  printf("uid %d, RLIMIT_MEMLOCK %ld KiB\n", (int)getuid(), (long)(locked.rlim_cur / 1024));
  notifications();
  close_events();
  passed_descriptor();
  namespaces();
  char parameters[128];
  memset(parameters, 0, sizeof(parameters));
  const int ring = (int)syscall(SYS_io_uring_setup, 4, parameters);
  report("io_uring", ring >= 0);
  const int faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC | 1 /* UFFD_USER_MODE_ONLY */);
  report("userfaultfd, user mode", faults >= 0);
  report("pseudo terminals", open("/dev/ptmx", O_RDWR | O_NOCTTY) >= 0);
  report("/dev/shm", access("/dev/shm", W_OK) == 0);
  return missing;
}

// SPDX-License-Identifier: BSD-3-Clause
#include "cli/doctor_probes.hpp"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <type_traits>

#include "base/fd.hpp"
#include "base/sys.hpp"
#include "base/types.hpp"

namespace iommufd::cli {
namespace {

// Numbers that Debian 12's headers do not have.
constexpr unsigned kPidfdThread = O_EXCL;
constexpr unsigned long kSetFlags = SECCOMP_IOW(4, __u64);
constexpr u64 kSyncWakeUp = 1;

// What the kernel calls struct procmap_query and struct pm_scan_arg, as far as their sizes go into the ioctl number.
struct ProcmapQuery {
  u64 size, query_flags, query_addr, vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
  u32 dev_major, dev_minor, vma_name_size, build_id_size;
  u64 vma_name_addr, build_id_addr;
};
static_assert(sizeof(ProcmapQuery) == 104);
struct PagemapScan {
  u64 size, flags, start, end, walk_end, vec, vec_len, max_pages;
  u64 category_inverted, category_mask, category_anyof_mask, return_mask;
};
static_assert(sizeof(PagemapScan) == 96);
constexpr unsigned long kProcmapQuery = _IOWR('f', 17, ProcmapQuery);
constexpr unsigned long kPagemapScan = _IOWR('f', 16, PagemapScan);

CallErrno outcome(long result) { return result < 0 ? errno : kOk; }

// Runs `trial` in a child, which may wreck itself, and brings its result back. Only system calls happen there.
template <class T>
T in_child(void (*trial)(T&)) {
  static_assert(std::is_trivially_copyable_v<T>);
  T result{};
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return result;
  const Fd in(ends[0]);
  Fd out(ends[1]);
  const pid_t child = fork();
  if (child == 0) {
    trial(result);
    const ssize_t n = write(out.get(), &result, sizeof result);
    _exit(n == sizeof result ? 0 : 1);
  }
  out.reset();
  T read_back{};
  if (child > 0) {
    if (read(in.get(), &read_back, sizeof read_back) == sizeof read_back) result = read_back;
    waitpid(child, nullptr, 0);
  }
  return result;
}

int install_filter(unsigned flags) {
  sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog program{1, allow};
  return static_cast<int>(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program));
}

void seccomp_trial(SeccompTrial& t) {
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  // The flags are checked before the filter is taken, and only one listener is allowed: newest first.
  int listener = install_filter(SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
  t.wait_killable = outcome(listener);
  if (listener < 0) listener = install_filter(SECCOMP_FILTER_FLAG_NEW_LISTENER);
  t.listener = outcome(listener);
  if (listener < 0) return;
  // No notification has this id: ENOENT says that the flag is known, EINVAL that it is not.
  seccomp_notif_addfd add{};
  add.id = 1;
  add.flags = SECCOMP_ADDFD_FLAG_SEND;
  t.addfd_send = outcome(ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add));
  if (t.addfd_send == ENOENT) t.addfd_send = kOk;
  t.sync_wake_up = outcome(ioctl(listener, kSetFlags, kSyncWakeUp));
}

// As client and server: a child that waits, and its parent that looks at it.
void process_trial(ProcessTrial& t) {
  int gate[2];
  if (pipe2(gate, O_CLOEXEC) != 0) return;
  u64 secret = 0x1f0e2d3c4b5a6978;
  const pid_t child = fork();
  if (child == 0) {
    close(gate[1]);
    char c;
    static_cast<void>(!read(gate[0], &c, 1));  // until the parent closes its end
    _exit(0);
  }
  if (child < 0) return;
  const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, child, 0));
  t.pidfd_getfd = pidfd < 0 ? errno : outcome(syscall(SYS_pidfd_getfd, pidfd, gate[0], 0));
  u64 copy = 0;
  const iovec local{&copy, sizeof copy}, remote{&secret, sizeof secret};
  t.read_memory = outcome(process_vm_readv(child, &local, 1, &remote, 1, 0));
  if (t.read_memory == kOk && copy != secret) t.read_memory = EIO;
  t.ptrace = outcome(ptrace(PTRACE_SEIZE, child, nullptr, nullptr));
  kill(child, SIGKILL);
  close(gate[1]);
  waitpid(child, nullptr, __WALL);
}

CallErrno try_ioctl(const char* path, unsigned long command, void* argument) {
  const Fd fd(open(path, O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return errno;
  return outcome(ioctl(fd.get(), command, argument));
}

}  // namespace

SeccompTrial try_seccomp() { return in_child(seccomp_trial); }
ProcessTrial try_process() { return in_child(process_trial); }

CallErrno try_pidfd_thread() {
  const Fd fd(static_cast<int>(syscall(SYS_pidfd_open, gettid(), kPidfdThread)));
  return fd.valid() ? kOk : errno;
}

CallErrno try_io_uring() {
  io_uring_params params{};
  const Fd fd(static_cast<int>(syscall(SYS_io_uring_setup, 1, &params)));
  return fd.valid() ? kOk : errno;
}

CallErrno try_procmap_query() {
  ProcmapQuery query{};
  query.size = sizeof query;
  query.query_flags = 0x10;  // the VMA that covers the address, or the next one
  return try_ioctl("/proc/self/maps", kProcmapQuery, &query);
}

CallErrno try_pagemap_scan() {
  PagemapScan scan{};
  scan.size = sizeof scan;
  scan.start = scan.end = 0x10000;  // an empty range
  return try_ioctl("/proc/self/pagemap", kPagemapScan, &scan);
}

CallErrno try_sealed_memfd() {
  const Result<Fd> fd = sys::make_sealed_memfd("doctor", kPageSize);
  return fd ? kOk : static_cast<int>(fd.error());
}

}  // namespace iommufd::cli

// SPDX-License-Identifier: BSD-3-Clause
#include "run/pidfd.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/sys.hpp"

namespace iommufd::run::pidfd {
namespace {
constexpr unsigned kThread = O_EXCL;  // PIDFD_THREAD

Result<Fd> open(pid_t tid, unsigned flags) {
  return Fd(static_cast<int>(IOMMUFD_TRY(sys::check(::syscall(SYS_pidfd_open, tid, flags)))));
}
}  // namespace

Result<Fd> open_process(pid_t tid) { return open(tid, 0); }
Result<Fd> open_thread(pid_t tid) { return open(tid, kThread); }

Result<Fd> get_descriptor(int pidfd, int fd) {
  return Fd(static_cast<int>(IOMMUFD_TRY(sys::check(::syscall(SYS_pidfd_getfd, pidfd, fd, 0)))));
}

bool exists(int pidfd) { return send_signal(pidfd, 0).has_value(); }

bool running(int pidfd) {
  pollfd p{pidfd, POLLIN, 0};
  return ::poll(&p, 1, 0) == 0;
}

Result<void> send_signal(int pidfd, int signal) {
  return sys::ok(::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0));
}

}  // namespace iommufd::run::pidfd

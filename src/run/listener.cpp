// SPDX-License-Identifier: BSD-3-Clause
#include "run/listener.hpp"

#include <fcntl.h>
#include <linux/filter.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "base/sys.hpp"

// Newer than the headers of Debian 12.
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif

namespace iommufd::run {

Result<Fd> Listener::install(std::span<const sock_filter> program) {
  IOMMUFD_TRY(sys::ok(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)));
  // SPEC_ALLOW: the filter keeps nobody in, so it must not cost the client the speculation of stores.
  constexpr unsigned long kFlags =
      SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV | SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  const sock_fprog prog{static_cast<unsigned short>(program.size()), const_cast<sock_filter*>(program.data())};
  const long fd = IOMMUFD_TRY(sys::check(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, kFlags, &prog)));
  return Fd(static_cast<int>(fd));
}

bool Listener::set_sync_wake_up() {
  return ::ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP) == 0;
}

Result<void> Listener::receive(Notification& out) const {
  std::memset(&out, 0, sizeof(out));  // the kernel refuses a buffer that is not zero
  IOMMUFD_TRY(sys::ok(::ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_RECV, static_cast<seccomp_notif*>(&out))));
  return {};
}

bool Listener::is_valid(u64 id) const { return ::ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0; }

void Listener::answer(u64 id, const Answer& a) const {
  seccomp_notif_resp resp{id, a.value, -static_cast<int>(a.error), 0};
  switch (a.kind) {
    case Answer::Kind::kGoOn: resp = {id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE}; break;
    case Answer::Kind::kValue: resp.error = 0; break;
    case Answer::Kind::kError: resp.val = 0; break;
  }
  (void)::ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_SEND, &resp);
}

Result<int> Listener::install_descriptor(u64 id, int fd, int number, CloseOnExec close_on_exec) const {
  seccomp_notif_addfd add{};
  add.id = id;
  add.srcfd = static_cast<u32>(fd);
  if (number >= 0) {
    add.flags = SECCOMP_ADDFD_FLAG_SETFD;
    add.newfd = static_cast<u32>(number);
  }
  add.newfd_flags = close_on_exec == CloseOnExec::kYes ? O_CLOEXEC : 0;
  return sys::check(::ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &add));
}

}  // namespace iommufd::run

// SPDX-License-Identifier: BSD-3-Clause
// The trials of the doctor. Each does in a child process what `run` would do, and leaves nothing behind. The result of
// a call is its errno, kOk when it worked.
#pragma once

namespace iommufd::cli {

using CallErrno = int;
inline constexpr CallErrno kOk = 0;
inline constexpr CallErrno kNotTried = -1;  // something before it failed, or the child died

struct SeccompTrial {
  CallErrno listener = kNotTried;       // a filter with a listener; EBUSY: there is one already (run inside run)
  CallErrno wait_killable = kNotTried;  // SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (5.19)
  CallErrno addfd_send = kNotTried;     // SECCOMP_ADDFD_FLAG_SEND (5.14)
  CallErrno sync_wake_up = kNotTried;   // SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (6.6)
};
SeccompTrial try_seccomp();

// On a child of ours, as the server does on the client.
struct ProcessTrial {
  CallErrno pidfd_getfd = kNotTried;
  CallErrno read_memory = kNotTried;  // process_vm_readv
  CallErrno ptrace = kNotTried;       // PTRACE_SEIZE, which injection needs
};
ProcessTrial try_process();

CallErrno try_pidfd_thread();   // pidfd_open(PIDFD_THREAD) (6.9)
CallErrno try_io_uring();       // io_uring_setup
CallErrno try_procmap_query();  // ioctl on /proc/self/maps (6.11)
CallErrno try_pagemap_scan();   // ioctl on /proc/self/pagemap (6.7)
CallErrno try_sealed_memfd();

}  // namespace iommufd::cli

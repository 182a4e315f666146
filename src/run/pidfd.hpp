// SPDX-License-Identifier: BSD-3-Clause
// Process descriptors: a process or thread by identity, not by a number that may be given to another one.
#pragma once

#include <sys/types.h>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace iommufd::run::pidfd {

// Of a thread group by its leader. Errors: kInval or kNoEnt when `tid` does not lead a group, kSrch.
Result<Fd> open_process(pid_t tid);
// Of one thread (Linux 6.9). Errors: kInval where the kernel cannot.
Result<Fd> open_thread(pid_t tid);
// A duplicate of descriptor `fd` of that task. Errors: kBadf, kSrch (it is gone), kPerm.
Result<Fd> get_descriptor(int pidfd, int fd);
// Not yet reaped. (A process that has exited and is not waited for still counts.)
bool exists(int pidfd);
// It has not exited.
bool running(int pidfd);
Result<void> send_signal(int pidfd, int signal);

}  // namespace iommufd::run::pidfd

// SPDX-License-Identifier: BSD-3-Clause
// Looks through what a process has open.
#pragma once

#include <sys/types.h>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "run/client_process.hpp"

namespace iommufd::run {

// A descriptor number of `tid` that leads to the inode; by the time of its use it may lead elsewhere. Errors: kNoEnt when it is
// not open there; those of reading /proc/TID/fd.
Result<int> find_descriptor(pid_t tid, dev_t device, ino_t inode);

// A descriptor of our own for the description behind which `process` has the inode. Errors: kNoEnt when it is not open there; those of
// find_descriptor() and of pidfd_getfd.
Result<Fd> find_description(const ClientProcess& process, dev_t device, ino_t inode);

}  // namespace iommufd::run

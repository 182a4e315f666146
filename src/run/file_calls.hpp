// SPDX-License-Identifier: BSD-3-Clause
// System calls on descriptors of ours: what a character device (or sysfs attribute) of the kernel would answer. The order
// of checks is the VFS's (fs/read_write.c, mm/mmap.c, fs/open.c).
//
// Only poll, close, dup, fcntl and the mapped memory itself are left to the memfd behind the descriptor.
#pragma once

#include "run/answer.hpp"
#include "run/client_call.hpp"

namespace iommufd::run {

// Pre: the call of `scope` has a descriptor as its argument (not a path), by one of the rules of filter.hpp.
Answer handle_file_call(const Runtime& runtime, CallScope& scope);

// fstat, and its spelling as a stat or statx of an empty path.
Answer handle_fstat(const Runtime& runtime, CallScope& scope, int fd, u64 stat_at);
Answer handle_fstatx(const Runtime& runtime, CallScope& scope, int fd, u64 statx_at);

}  // namespace iommufd::run

// SPDX-License-Identifier: BSD-3-Clause
// Calls on huge pages under --hugetlb=emulate (huge_pool.hpp): memfd_create with MFD_HUGETLB, mmap with MAP_HUGETLB, and what is
// done with the descriptors of such files, whoever has them under which number.
//
// Only the client can map at an address that we choose: its thread is held and made to (inject.hpp). Where that is refused (it
// is being traced), mmap answers ENOMEM as without huge pages, and `run` says why, once.
#pragma once

#include <sys/stat.h>

#include <optional>

#include "run/answer.hpp"
#include "run/call_scope.hpp"
#include "run/runtime.hpp"

namespace iommufd::run {

// Nothing when the call does not concern the pool. Pre: there is one.
std::optional<Answer> handle_huge_call(const Runtime& runtime, CallScope& scope);

// What fstat says of a file of the pool; nothing when the descriptor is of another. Pre: there is a pool.
std::optional<struct stat> stat_huge_file(const Runtime& runtime, CallScope& scope, int fd);

}  // namespace iommufd::run

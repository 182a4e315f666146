// SPDX-License-Identifier: BSD-3-Clause
#include "run/call_scope.hpp"

#include "run/remote_copy.hpp"

namespace iommufd::run {

thread_local const CallScope* CallScope::t_current = nullptr;

Result<std::size_t> CallScope::read(u64 at, std::span<std::byte> buf) const {
  const Result<std::size_t> n = remote_read(tid(), at, buf);
  if (!is_valid()) return Err(Errno::kSrch);
  return n;
}

// Who wrote to a number that was given to somebody else meanwhile cannot take it back, so the question comes first. In
// between, the thread would have to be killed, waited for, and its number used again.
Result<std::size_t> CallScope::write(u64 at, std::span<const std::byte> buf) const {
  if (!is_valid()) return Err(Errno::kSrch);
  return remote_write(tid(), at, buf);
}

}  // namespace iommufd::run

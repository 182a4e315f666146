// SPDX-License-Identifier: BSD-3-Clause
#include "run/call_scope.hpp"

#include "run/remote_copy.hpp"

namespace iommufd::run {

namespace {
constinit thread_local const CallScope* t_current = nullptr;
}  // namespace

CallScope::CallScope(const Listener& listener, const Notification& n) : listener_(listener), notification_(n) {
  t_current = this;
}

CallScope::~CallScope() { t_current = nullptr; }

const CallScope* CallScope::current() { return t_current; }

Result<std::size_t> CallScope::read(u64 at, std::span<std::byte> buf) const {
  const Result<std::size_t> n = remote_read(tid(), at, buf);
  if (!is_valid()) return Err(Errno::kSrch);
  valid_at_ = std::chrono::steady_clock::now();
  return n;
}

// Who wrote to a number that was given to somebody else meanwhile cannot take it back. So the question comes first, unless
// it was answered a moment ago: since then the thread would have to be killed and waited for, and all other numbers be used.
Result<std::size_t> CallScope::write(u64 at, std::span<const std::byte> buf) const {
  if (std::chrono::steady_clock::now() - valid_at_ > kMoment && !is_valid()) return Err(Errno::kSrch);
  return remote_write(tid(), at, buf);
}

}  // namespace iommufd::run

// SPDX-License-Identifier: BSD-3-Clause
#include "run/call_scope.hpp"

#include "run/remote_copy.hpp"

namespace iommufd::run {

namespace {
constinit thread_local CallScope* t_current = nullptr;
}  // namespace

CallScope::CallScope(const Listener& listener, const Notification& n) : listener_(listener), notification_(n) {
  t_current = this;
}

CallScope::~CallScope() { t_current = nullptr; }

CallScope* CallScope::current() { return t_current; }

Result<std::size_t> CallScope::read(u64 at, std::span<std::byte> buf) const {
  const Result<std::size_t> n = remote_read(tid(), at, buf);
  if (!is_still_valid()) return Err(Errno::kSrch);
  return n;
}

// Who wrote to a number that was given to somebody else meanwhile cannot take it back: the question comes first.
Result<std::size_t> CallScope::write(u64 at, std::span<const std::byte> buf) const {
  if (!is_still_valid()) return Err(Errno::kSrch);
  return remote_write(tid(), at, buf);
}

bool CallScope::is_still_valid() const {
  const auto now = std::chrono::steady_clock::now();
  if (now - seen_alive_ < kMoment) return true;
  if (!is_valid()) return false;
  seen_alive_ = now;
  return true;
}

bool CallScope::is_valid() const { return stopped_ ? stopped_->alive() : listener_.is_valid(notification_.id); }

Result<StoppedCaller*> CallScope::hold(int descriptor) {
  if (!stopped_) {
    stopped_ = IOMMUFD_TRY(StoppedCaller::stop(listener_, notification_, descriptor));
    held_with_ = descriptor;
  }
  if (held_with_ != descriptor) return Err(Errno::kBusy);
  return stopped_.get();
}

bool CallScope::finish(s64 result) {
  if (!stopped_) return answered_;
  stopped_->resume(result);
  return true;
}

void CallScope::caller_seen_alive() const { seen_alive_ = std::chrono::steady_clock::now(); }

}  // namespace iommufd::run

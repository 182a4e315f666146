// SPDX-License-Identifier: BSD-3-Clause
#include "base/sync.hpp"

#include <array>
#include <cstddef>
#include <thread>

#include "base/assert.hpp"

namespace iommufd {
namespace {

template <class M>
bool take_until(M& mu, std::chrono::steady_clock::time_point deadline) {
  constexpr auto kPause = std::chrono::microseconds(100);
  while (!mu.try_lock()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(kPause);
  }
  return true;
}

}  // namespace

bool Mutex::try_lock_until(std::chrono::steady_clock::time_point deadline) {
  if (!take_until(mu_, deadline)) return false;
  lock_check::acquired(rank_, this);
  return true;
}

bool SharedMutex::try_lock_until(std::chrono::steady_clock::time_point deadline) {
  if (!take_until(mu_, deadline)) return false;
  lock_check::acquired(rank_, this);
  return true;
}

void CondVar::wait(Mutex& mu) {
  std::unique_lock lock(mu.mu_, std::adopt_lock);
  cv_.wait(lock);
  lock.release();
}

bool CondVar::wait_for(Mutex& mu, std::chrono::nanoseconds timeout) {
  std::unique_lock lock(mu.mu_, std::adopt_lock);
  const auto status = cv_.wait_for(lock, timeout);
  lock.release();
  return status == std::cv_status::no_timeout;
}

namespace lock_check {
#if defined(IOMMUFD_LOCK_CHECK)
namespace {
struct Held {
  LockRank rank;
  const void* lock;
};
struct Stack {
  std::array<Held, 32> held{};
  std::size_t count = 0;
};
thread_local Stack t_stack;
// COPY holds the intervals of two IOASes, and their domains; the caller orders them by address.
bool may_nest(LockRank rank) { return rank == LockRank::kIova || rank == LockRank::kDomains; }
}  // namespace

void acquired(LockRank rank, const void* lock) {
  Stack& s = t_stack;
  for (std::size_t i = 0; i < s.count; ++i) {
    IOMMUFD_ASSERT(s.held[i].lock != lock);
    IOMMUFD_ASSERT(s.held[i].rank < rank || (s.held[i].rank == rank && may_nest(rank)));
  }
  IOMMUFD_ASSERT(s.count < s.held.size());
  s.held[s.count++] = {rank, lock};
}

void released(LockRank, const void* lock) {
  Stack& s = t_stack;
  for (std::size_t i = s.count; i-- > 0;) {
    if (s.held[i].lock != lock) continue;
    for (std::size_t j = i + 1; j < s.count; ++j) s.held[j - 1] = s.held[j];
    --s.count;
    return;
  }
  IOMMUFD_ASSERT(false && "released a lock that this thread does not hold");
}

bool none_held() { return t_stack.count == 0; }
#else
bool none_held() { return true; }
#endif
}  // namespace lock_check

}  // namespace iommufd

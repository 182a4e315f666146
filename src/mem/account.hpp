// SPDX-License-Identifier: BSD-3-Clause
// Locked-memory accounting (spec iommufd-core 4.4): how many pages a user and a process have pinned, against the
// RLIMIT_MEMLOCK of the process that made the mapping, read at the moment of pinning.
#pragma once

#include <atomic>

#include "base/ref.hpp"
#include "base/result.hpp"
#include "base/types.hpp"

namespace iommufd::mem {

// A counter of pages. Thread-safe.
class Account : public RefCounted {
 public:
  // Adds `pages`, unless the sum would pass `limit_pages`: kNoMem. Equality is allowed.
  Result<void> charge(u64 pages, u64 limit_pages);
  void charge_unlimited(u64 pages) { pages_.fetch_add(pages, std::memory_order_relaxed); }
  void uncharge(u64 pages) { pages_.fetch_sub(pages, std::memory_order_relaxed); }
  [[nodiscard]] u64 pages() const { return pages_.load(std::memory_order_relaxed); }

 private:
  std::atomic<u64> pages_{0};
};

inline constexpr u64 kUnlimitedPages = ~u64{0};

// A client process (thread group) as the accounting sees it. Implemented by whoever carries the calls.
class Process : public RefCounted {
 public:
  explicit Process(Ref<Account> user) : user_(std::move(user)) {}
  // RLIMIT_MEMLOCK in pages, now; kUnlimitedPages for RLIM_INFINITY. Errors: kInval when the process is gone.
  virtual Result<u64> memlock_limit() = 0;
  Account& user_locked() { return *user_; }  // shared by all processes of one user
  Account& vm_locked() { return *locked_; }  // VmLck: charged in process mode
  Account& vm_pinned() { return *pinned_; }  // VmPin: every pin

 private:
  Ref<Account> user_;
  Ref<Account> locked_ = make_ref<Account>();
  Ref<Account> pinned_ = make_ref<Account>();
};

}  // namespace iommufd::mem

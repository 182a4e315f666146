// SPDX-License-Identifier: BSD-3-Clause
// Fault injection on request of the client, under `run --selftest` (spec selftest-abi 10.3): which fault point of each of its
// threads' next ioctls fails, as /proc/PID/task/TID/fail-nth has it, and the knobs that the kernel has in debugfs.
//
// Thread-safe. Lock: mu_ (kLeaf), not held during a call.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/result.hpp"
#include "base/sync.hpp"

namespace iommufd::run {

class FaultPlans {
 public:
  // The n-th point that the thread comes to fails; 0: none. What is missing until then, 0 when it has failed.
  void set(pid_t tid, u64 nth) IOMMUFD_EXCLUDES(mu_);
  u64 get(pid_t tid) IOMMUFD_EXCLUDES(mu_);
  // Text of and for fail-nth. Errors: kInval (no number).
  std::string show(pid_t tid);
  Result<void> store(pid_t tid, std::string_view text);

  // The thread closes its fail-nth: says on stderr how many failures it had.
  void finish(pid_t tid) IOMMUFD_EXCLUDES(mu_);

  // fail_iommufd/verbose and its like: above 0, each failure is reported on stderr.
  std::atomic<u32> verbose{2};

  // The filters by kind of memory of debugfs. Our points are not told apart by kind, so these only remember.
  std::atomic<bool> ignore_slab_wait{true}, ignore_page_wait{true}, ignore_page_highmem{true};

  // During its life the plan of `tid` holds for what this thread of ours does, and counts. `plans` may be null.
  class Armed {
   public:
    Armed(FaultPlans* plans, pid_t tid);
    ~Armed();
    Armed(const Armed&) = delete;
    Armed& operator=(const Armed&) = delete;

   private:
    FaultPlans* plans_;  // null: nothing is armed
    const pid_t tid_;
  };

 private:
  void struck(pid_t tid) IOMMUFD_EXCLUDES(mu_);

  Mutex mu_{LockRank::kLeaf};
  std::unordered_map<pid_t, u64> left_ IOMMUFD_GUARDED_BY(mu_);    // without those that are 0
  std::unordered_map<pid_t, u64> struck_ IOMMUFD_GUARDED_BY(mu_);  // failures, until finish()
};

}  // namespace iommufd::run

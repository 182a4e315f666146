// SPDX-License-Identifier: BSD-3-Clause
// The calls that our threads are in. A caller that is killed does not take its call along: our thread goes on with it, and keeps what
// the descriptor names open until then (Identified), while the process is gone already. In the kernel nobody sees the end of a
// process before its last call is over and its files are closed; who may meet what such a process had asks for that here.
//
// Lock: mu_ (kLeaf) guards the list.
#pragma once

#include <vector>

#include "base/sync.hpp"
#include "run/call_scope.hpp"
#include "run/listener.hpp"

namespace iommufd::run {

class CallsInFlight {
 public:
  explicit CallsInFlight(const Listener& listener) : listener_(listener) {}
  CallsInFlight(const CallsInFlight&) = delete;
  CallsInFlight& operator=(const CallsInFlight&) = delete;

  // One call, from before anything is asked of its caller until nothing of it is held.
  class Entry {
   public:
    Entry(CallsInFlight& calls, const Notification& notification);
    ~Entry();
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;

   private:
    CallsInFlight& calls_;
    const u64 id_;
  };

  // Waits until the calls are over whose callers have been killed by now, however long they take, or the caller of `own` is killed too. A
  // call that is answered by other means (CallScope::hold) may be waited for although its caller lives. True: there were such calls.
  bool await_killed(const CallScope& own) IOMMUFD_EXCLUDES(mu_);

 private:
  const Listener& listener_;
  Mutex mu_{LockRank::kLeaf};
  CondVar over_;
  std::vector<u64> ids_ IOMMUFD_GUARDED_BY(mu_);
  u32 waiting_ IOMMUFD_GUARDED_BY(mu_) = 0;
};

}  // namespace iommufd::run

// SPDX-License-Identifier: BSD-3-Clause
// One thread that waits for clients to signal eventfds and then acts: UNMASK by eventfd, and ioeventfds. It starts with
// the first watch.
//
// Lock order: mu_ (kLeaf) guards the table; no lock is held while an action runs.
#pragma once

#include <functional>
#include <map>
#include <thread>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "base/sync.hpp"
#include "base/types.hpp"
#include "vfio/eventfd.hpp"

namespace iommufd::vfio {

class EventWatcher {
 public:
  using WatchId = u64;

  EventWatcher() = default;
  EventWatcher(const EventWatcher&) = delete;
  EventWatcher& operator=(const EventWatcher&) = delete;
  ~EventWatcher();

  // Consumes the count of `event` whenever it is signalled (also when it is already) and then runs `act` on the
  // watcher's thread. Errors: kNoMem, kMFile of the host.
  Result<WatchId> add(Eventfd event, std::function<void()> act) IOMMUFD_EXCLUDES(mu_);
  // When it returns, the action is not running and will not run. Never called from an action.
  void remove(WatchId id) IOMMUFD_EXCLUDES(mu_);

 private:
  struct Watch {
    Eventfd event;
    std::function<void()> act;
  };
  Result<void> start_locked() IOMMUFD_REQUIRES(mu_);
  void run(int epoll) IOMMUFD_EXCLUDES(mu_);
  void serve(WatchId id) IOMMUFD_EXCLUDES(mu_);

  Mutex mu_{LockRank::kLeaf};
  CondVar returned_;
  std::map<WatchId, Watch> watches_ IOMMUFD_GUARDED_BY(mu_);
  WatchId next_ IOMMUFD_GUARDED_BY(mu_) = 1;
  WatchId running_ IOMMUFD_GUARDED_BY(mu_) = 0;
  Fd epoll_ IOMMUFD_GUARDED_BY(mu_);
  Fd stop_ IOMMUFD_GUARDED_BY(mu_);  // an eventfd of ours: id 0 in the epoll set
  std::jthread thread_;
};

}  // namespace iommufd::vfio

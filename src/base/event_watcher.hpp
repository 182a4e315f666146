// SPDX-License-Identifier: BSD-3-Clause
// One thread that waits for files on which something comes in, and then acts: eventfds that clients signal, interrupts of the kernel's
// drivers. It starts with the first watch.
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

namespace iommufd {

// Takes the count of an eventfd. False when it was 0; never blocks, whatever the descriptor's flags say.
bool take_eventfd(int fd);

class EventWatcher {
 public:
  using WatchId = u64;
  // Takes what has come in, so that the file waits for the next; false: nothing had. Never blocks.
  using Take = bool (*)(int fd);

  EventWatcher() = default;
  EventWatcher(const EventWatcher&) = delete;
  EventWatcher& operator=(const EventWatcher&) = delete;
  ~EventWatcher();

  // Whenever something has come in on `file` (also when it has already), takes it and then runs `act` on the watcher's thread.
  // Errors: kNoMem, kMFile of the host.
  Result<WatchId> add(Fd file, std::function<void()> act, Take take = take_eventfd) IOMMUFD_EXCLUDES(mu_);
  // When it returns, the action is not running and will not run. Never called from an action.
  void remove(WatchId id) IOMMUFD_EXCLUDES(mu_);

 private:
  struct Watch {
    Fd file;
    Take take;
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

}  // namespace iommufd

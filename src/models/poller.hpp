// SPDX-License-Identifier: BSD-3-Clause
// The one thread that looks at registers which clients reach by plain loads and stores, and at what models have due
// later. Adaptive: for kSpin after the last activity it looks without pause, then it sleeps, 50 us at first and twice
// as long each time, up to 1 ms, and 2 ms when nothing has happened for half a second (a wake-up costs about 15 us of processor time,
// whatever it looks at). A model may ask for longer spinning. With no register in shared memory and nothing due it sleeps until it is woken.
//
// The thread starts with the first wake(), so that a process that forks before it maps a BAR loses nothing.
// Lock order: mu_ (kLeaf) is never held while a model is called.
#pragma once

#include <chrono>
#include <thread>
#include <vector>

#include "base/sync.hpp"
#include "pci/device_model.hpp"

namespace iommufd::models {

class Poller {
 public:
  static constexpr std::chrono::microseconds kSpin{40}, kFirstSleep{50}, kLongestSleep{1000}, kIdleSleep{2000};
  static constexpr std::chrono::milliseconds kIdleAfter{500};

  Poller() = default;
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;
  ~Poller();

  // `model` is looked at until remove() returns. It is not called before the next wake().
  void add(pci::DeviceModel& model) IOMMUFD_EXCLUDES(mu_);
  // When it returns, no poll() of the model runs on the poller's thread and none will.
  void remove(pci::DeviceModel& model) IOMMUFD_EXCLUDES(mu_);
  // Something has changed: look at once. Cheap when the thread is awake.
  void wake() IOMMUFD_EXCLUDES(mu_);
  // Looks at every model on the calling thread: what to do before any trapped request is served, since the client may
  // rely on the order of its store and its call. No ranked lock is held by the caller.
  void look() IOMMUFD_EXCLUDES(mu_);

 private:
  struct Entry {
    pci::DeviceModel* model;
    u32 callers = 0;       // how many threads are inside poll() of it
    bool leaving = false;  // remove() waits for them
  };
  void run() IOMMUFD_EXCLUDES(mu_);
  pci::PollOutcome look_once() IOMMUFD_EXCLUDES(mu_);
  // Sleeps until wake(), `until`, or the end.
  void sleep(std::optional<pci::Clock::time_point> until) IOMMUFD_EXCLUDES(mu_);

  Mutex mu_{LockRank::kLeaf};
  CondVar changed_;   // a wake, or the end
  CondVar returned_;  // a poll() has returned
  std::vector<Entry> entries_ IOMMUFD_GUARDED_BY(mu_);
  bool woken_ IOMMUFD_GUARDED_BY(mu_) = false;
  bool ending_ IOMMUFD_GUARDED_BY(mu_) = false;
  std::jthread thread_;  // last: ends before the rest goes
};

}  // namespace iommufd::models

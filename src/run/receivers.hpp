// SPDX-License-Identifier: BSD-3-Clause
// The threads that receive notifications. A call may block for as long as it likes (a client page on FUSE or userfaultfd,
// an ioctl that waits), and the others must go on; so there is always a thread that receives, or one is added.
//
// One thread at a time waits for notifications, because the kernel wakes all that wait for each one. Who has received
// handles the call itself, as handing it over would cost a switch. When a look (every kTick while there is
// work) finds that nobody received since the last one, another thread is sent to receive, and for a while more than one may
// wait; the same when calls wait for a receiver at several looks. Who comes back from a call and finds enough others
// receiving, rests. (Looking more often drives caller and receiver apart on the processors, and costs half a request.)
//
// Lock: mu_ (kLeaf) guards the resting threads.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

#include "base/fd.hpp"
#include "base/sync.hpp"
#include "run/listener.hpp"

namespace iommufd::run {

class Receivers {
 public:
  // Handles one notification; returns its answer, or nothing when it was given already. Must not throw.
  using Handle = std::function<std::optional<Answer>(const Notification&)>;
  static constexpr std::chrono::milliseconds kTick{10};

  // Errors: those of eventfd.
  static Result<std::unique_ptr<Receivers>> create(const Listener& listener, Handle handle);
  ~Receivers();
  Receivers(const Receivers&) = delete;
  Receivers& operator=(const Receivers&) = delete;

  // The first receiver.
  void start();
  // No thread receives or rests any more when it returns; those that are in a call are left alone. True when there are none.
  bool stop();

  // For the thread that looks: readable when there is work and nobody looks. It then calls look() every kTick as long as
  // look() says so.
  [[nodiscard]] int wake_fd() const { return wake_.get(); }
  bool look();

 private:
  Receivers(const Listener& listener, Handle handle, Fd wake)
      : listener_(listener), handle_(std::move(handle)), wake_(std::move(wake)) {}
  void run();
  bool receive_one();
  bool may_go_on();
  bool rest() IOMMUFD_EXCLUDES(mu_);
  void add() IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] bool has_pending() const;

  const Listener& listener_;
  const Handle handle_;
  const Fd wake_;
  // Threads that wait for a notification or are about to. Who answers counts from before the answer: the caller may run at
  // once on this processor, and be back with its next call before we are.
  std::atomic<unsigned> receiving_{0};
  std::atomic<unsigned> wanted_{1};  // how many may
  std::atomic<u64> handled_{0};
  std::atomic<bool> watched_{false};  // somebody calls look()
  std::atomic<bool> stopping_{false};
  u64 seen_ = 0;          // of the looking thread
  unsigned quiet_ = 0;    // looks without work
  unsigned starved_ = 0;  // looks at which calls waited
  unsigned calm_ = 0;     // looks without need for another receiver
  Mutex mu_{LockRank::kLeaf};
  CondVar wanted_cv_;
  unsigned resting_ IOMMUFD_GUARDED_BY(mu_) = 0;
  unsigned calls_ IOMMUFD_GUARDED_BY(mu_) = 0;  // how many resting threads are sent to receive
  std::vector<std::thread> threads_ IOMMUFD_GUARDED_BY(mu_);
  unsigned running_ IOMMUFD_GUARDED_BY(mu_) = 0;  // threads that have not ended
};

}  // namespace iommufd::run

// SPDX-License-Identifier: BSD-3-Clause
#include "run/receivers.hpp"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <csignal>

#include <algorithm>

#include "base/sys.hpp"

namespace iommufd::run {
namespace {

// Interrupts a wait for a notification. It does nothing else, so any signal that we do not use will do.
constexpr int kInterrupt = SIGUSR1;
constexpr unsigned kQuietLooks = 10;   // without work, until nobody looks any more
constexpr unsigned kStarvedLooks = 5;  // with calls that wait for a receiver, until one more may receive
constexpr unsigned kCalmLooks = 100;   // without need for more receivers, until one will do again
constexpr unsigned kMostWanted = 8;    // each one that waits is woken for every call

void ignore_interrupt(int) {}

}  // namespace

Result<std::unique_ptr<Receivers>> Receivers::create(const Listener& listener, Handle handle) {
  Fd wake(IOMMUFD_TRY(sys::check(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))));
  struct sigaction action{};
  action.sa_handler = ignore_interrupt;
  IOMMUFD_TRY(sys::ok(::sigaction(kInterrupt, &action, nullptr)));
  return std::unique_ptr<Receivers>(new Receivers(listener, std::move(handle), std::move(wake)));
}

Receivers::~Receivers() { (void)stop(); }

void Receivers::start() { add(); }

void Receivers::add() {
  receiving_.fetch_add(1);
  const MutexLock lock(mu_);
  if (resting_ > calls_) {
    ++calls_;
    wanted_cv_.notify_one();
    return;
  }
  ++running_;
  threads_.emplace_back([this] { run(); });
}

// Pre: this thread is counted in receiving_.
void Receivers::run() {
  while (receive_one() && (may_go_on() || rest())) {
  }
  const MutexLock lock(mu_);
  --running_;
  wanted_cv_.notify_all();
}

// False, and this thread is not counted any more, when enough others receive: then it rests, until it is sent again (and
// counted by who sends).
bool Receivers::may_go_on() {
  unsigned n = receiving_.load();
  while (n > wanted_.load()) {
    if (receiving_.compare_exchange_weak(n, n - 1)) return false;
  }
  return true;
}

// False when it is time to end. This thread is counted in receiving_ before, and after when true.
bool Receivers::receive_one() {
  Notification n;
  for (;;) {
    const Result<void> received = listener_.receive(n);
    if (stopping_.load()) {
      receiving_.fetch_sub(1);
      return false;
    }
    if (received) break;
    if (received.error() != Errno::kIntr && received.error() != Errno::kNoEnt) {
      receiving_.fetch_sub(1);
      return false;
    }
    // ENOENT also when nobody is left who could call: wait for the end without spinning.
    pollfd p{listener_.fd(), 0, 0};
    if (received.error() == Errno::kNoEnt && ::poll(&p, 1, 0) > 0 && (p.revents & POLLHUP) != 0) {
      receiving_.fetch_sub(1);
      return false;
    }
  }
  receiving_.fetch_sub(1);
  if (!watched_.load() && !watched_.exchange(true)) (void)::eventfd_write(wake_.get(), 1);
  const std::optional<Answer> answer = handle_(n);
  handled_.fetch_add(1, std::memory_order_relaxed);
  receiving_.fetch_add(1);
  if (answer) listener_.answer(n.id, *answer);
  return true;
}

bool Receivers::rest() {
  const MutexLock lock(mu_);
  ++resting_;
  while (calls_ == 0 && !stopping_.load()) wanted_cv_.wait(mu_);
  --resting_;
  if (calls_ > 0) --calls_;
  return !stopping_.load();
}

bool Receivers::look() {
  eventfd_t drained = 0;
  (void)::eventfd_read(wake_.get(), &drained);
  const u64 handled = handled_.load(std::memory_order_relaxed);
  const bool progress = handled != seen_;
  const bool nobody = receiving_.load() == 0;
  seen_ = handled;
  starved_ = nobody && progress && has_pending() ? starved_ + 1 : starved_;
  if ((nobody && !progress) || starved_ >= kStarvedLooks) {
    starved_ = calm_ = 0;
    wanted_.store(std::min(wanted_.load() + 1, kMostWanted));
    add();
  } else if (++calm_ >= kCalmLooks) {
    starved_ = calm_ = 0;
    wanted_.store(1);
  }
  quiet_ = progress || nobody ? 0 : quiet_ + 1;
  if (quiet_ < kQuietLooks) return true;
  quiet_ = starved_ = calm_ = 0;
  wanted_.store(1);
  watched_.store(false);
  // A call that was received just now may have seen that somebody looks.
  if (receiving_.load() != 0) return false;
  watched_.store(true);
  return true;
}

bool Receivers::has_pending() const {
  pollfd p{listener_.fd(), POLLIN, 0};
  return ::poll(&p, 1, 0) > 0 && (p.revents & POLLIN) != 0;
}

bool Receivers::stop() {
  stopping_.store(true);
  std::vector<std::thread> threads;
  {
    const MutexLock lock(mu_);
    threads.swap(threads_);
    wanted_cv_.notify_all();
  }
  // A thread may be just before its wait when the signal comes: again, until it has seen it. Those in a call get a while.
  constexpr int kRounds = 50;
  for (int round = 0; round < kRounds && !threads.empty(); ++round) {
    for (std::thread& t : threads) (void)::pthread_kill(t.native_handle(), kInterrupt);
    const MutexLock lock(mu_);
    if (running_ == 0) break;
    wanted_cv_.wait_for(mu_, kTick);
  }
  bool all = false;
  {
    const MutexLock lock(mu_);
    all = running_ == 0;
  }
  for (std::thread& t : threads) {
    if (all) {
      t.join();
    } else {
      t.detach();
    }
  }
  return all;
}

}  // namespace iommufd::run

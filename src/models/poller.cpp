// SPDX-License-Identifier: BSD-3-Clause
#include "models/poller.hpp"

#include <algorithm>

namespace iommufd::models {
namespace {

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

Poller::~Poller() {
  {
    const MutexLock lock(mu_);
    ending_ = true;
  }
  changed_.notify_all();
}

void Poller::add(pci::DeviceModel& model) {
  const MutexLock lock(mu_);
  entries_.push_back({.model = &model});
}

void Poller::remove(pci::DeviceModel& model) {
  const MutexLock lock(mu_);
  for (;;) {
    const auto it = std::ranges::find(entries_, &model, &Entry::model);
    if (it == entries_.end()) return;
    if (it->callers == 0) {
      entries_.erase(it);
      return;
    }
    it->leaving = true;
    returned_.wait(mu_);
  }
}

void Poller::wake() {
  {
    const MutexLock lock(mu_);
    woken_ = true;
    if (!thread_.joinable()) {
      thread_ = std::jthread([this] { run(); });
      return;
    }
  }
  changed_.notify_one();
}

void Poller::look() { look_once(); }

// Entries may come and go while a model is called, so they are found by position and checked again.
pci::PollOutcome Poller::look_once() {
  pci::PollOutcome sum;
  MutexLock lock(mu_);
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].leaving) continue;
    pci::DeviceModel* model = entries_[i].model;
    ++entries_[i].callers;
    lock.unlock();
    const pci::PollOutcome one = model->poll();
    lock.lock();
    const auto it = std::ranges::find(entries_, model, &Entry::model);
    if (--it->callers == 0) returned_.notify_all();
    i = static_cast<std::size_t>(it - entries_.begin());
    sum.worked |= one.worked;
    sum.watching |= one.watching;
    if (one.spin_until && (!sum.spin_until || *one.spin_until > *sum.spin_until)) sum.spin_until = one.spin_until;
    if (one.wake_at && (!sum.wake_at || *one.wake_at < *sum.wake_at)) sum.wake_at = one.wake_at;
  }
  return sum;
}

void Poller::run() {
  auto last_activity = pci::Clock::now();
  auto pause = kFirstSleep;
  for (;;) {
    {
      const MutexLock lock(mu_);
      if (ending_) return;
      if (woken_) last_activity = pci::Clock::now();
      woken_ = false;
    }
    const pci::PollOutcome outcome = look_once();
    const auto now = pci::Clock::now();
    if (outcome.worked) last_activity = now;
    const bool asked = outcome.spin_until && now < *outcome.spin_until;
    if (asked || (outcome.watching && now - last_activity < kSpin)) {
      pause = kFirstSleep;
      relax();
      continue;
    }
    std::optional<pci::Clock::time_point> until = outcome.wake_at;
    if (outcome.watching) {
      const auto next_look = now + pause;
      if (!until || next_look < *until) until = next_look;
      pause = std::min(pause * 2, now - last_activity < kIdleAfter ? kLongestSleep : kIdleSleep);
    }
    sleep(until);
  }
}

void Poller::sleep(std::optional<pci::Clock::time_point> until) {
  const MutexLock lock(mu_);
  while (!woken_ && !ending_) {
    if (!until) {
      changed_.wait(mu_);
    } else {
      const auto left = *until - pci::Clock::now();
      if (left <= left.zero()) return;
      changed_.wait_for(mu_, left);
    }
  }
}

}  // namespace iommufd::models

// SPDX-License-Identifier: BSD-3-Clause
#include "run/calls_in_flight.hpp"

#include <algorithm>
#include <chrono>

namespace iommufd::run {
namespace {

// How often one that waits looks whether its own caller is still there.
constexpr std::chrono::milliseconds kLook{50};

}  // namespace

CallsInFlight::Entry::Entry(CallsInFlight& calls, const Notification& notification)
    : calls_(calls), id_(notification.id) {
  const MutexLock lock(calls_.mu_);
  calls_.ids_.push_back(id_);
}

CallsInFlight::Entry::~Entry() {
  const MutexLock lock(calls_.mu_);
  std::erase(calls_.ids_, id_);
  if (calls_.waiting_ != 0) calls_.over_.notify_all();
}

bool CallsInFlight::await_killed(const CallScope& own) {
  const u64 own_id = own.notification().id;
  const MutexLock lock(mu_);
  std::vector<u64> killed;
  for (const u64 id : ids_)
    if (id != own_id && !listener_.is_valid(id)) killed.push_back(id);
  const auto goes_on = [&](u64 id) IOMMUFD_REQUIRES(mu_) { return std::ranges::find(ids_, id) != ids_.end(); };
  ++waiting_;
  for (const u64 id : killed)
    while (goes_on(id) && own.is_valid()) (void)over_.wait_for(mu_, kLook);
  --waiting_;
  return !killed.empty();
}

}  // namespace iommufd::run

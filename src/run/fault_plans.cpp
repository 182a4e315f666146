// SPDX-License-Identifier: BSD-3-Clause
#include "run/fault_plans.hpp"

#include <fmt/format.h>

#include <charconv>

#include "base/fault_point.hpp"
#include "run/message.hpp"

namespace iommufd::run {

void FaultPlans::set(pid_t tid, u64 nth) {
  const MutexLock lock(mu_);
  if (nth == 0) {
    left_.erase(tid);
  } else {
    left_[tid] = nth;
  }
}

u64 FaultPlans::get(pid_t tid) {
  const MutexLock lock(mu_);
  const auto it = left_.find(tid);
  return it != left_.end() ? it->second : 0;
}

std::string FaultPlans::show(pid_t tid) { return fmt::format("{}\n", get(tid)); }

Result<void> FaultPlans::store(pid_t tid, std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  u64 nth = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), nth);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return Err(Errno::kInval);
  set(tid, nth);
  return {};
}

void FaultPlans::struck(pid_t tid) {
  const MutexLock lock(mu_);
  ++struck_[tid];
}

void FaultPlans::finish(pid_t tid) {
  u64 count = 0;
  {
    const MutexLock lock(mu_);
    left_.erase(tid);
    if (const auto node = struck_.extract(tid)) count = node.mapped();
  }
  if (count != 0) message(fmt::format("FAULT_INJECTION: {} failures in thread {}", count, tid));
}

FaultPlans::Armed::Armed(FaultPlans* plans, pid_t tid) : plans_(plans), tid_(tid) {
  if (plans_ == nullptr) return;
  const u64 nth = plans_->get(tid);
  if (nth == 0) {
    plans_ = nullptr;
  } else {
    fault::arm(nth);
  }
}

FaultPlans::Armed::~Armed() {
  if (plans_ == nullptr) return;
  const u64 left = fault::disarm();
  plans_->set(tid_, left);
  if (left != 0) return;
  plans_->struck(tid_);
  if (plans_->verbose.load(std::memory_order_relaxed) != 0)
    message(fmt::format("FAULT_INJECTION: forced a failure in thread {}", tid_));
}

}  // namespace iommufd::run

// SPDX-License-Identifier: BSD-3-Clause
#include "host/real_model.hpp"

#include <fmt/format.h>

#include "base/assert.hpp"

namespace iommufd::host {

RealModel::RealModel(std::shared_ptr<RealFunction> function, pci::ModelPorts ports, models::Poller& poller)
    : function_(std::move(function)), ports_(std::move(ports)), poller_(poller) {
  function_->set_message_sink(
      {.sent = [this](u32 vector) { ports_.interrupts.send_message(vector); }, .note = ports_.note});
  poller_.add(*this);
}

RealModel::~RealModel() {
  poller_.remove(*this);
  interrupts_set(pci::InterruptUse::kNone);
  for (const pci::MessageKind kind : {pci::MessageKind::kMsi, pci::MessageKind::kMsix}) function_->messages_end(kind);
}

void RealModel::reset() {
  if (!function_->can_reset()) {
    if (const u64 pages = function_->leave_as_it_is(); pages != 0)
      ports_.note(fmt::format(
          "it cannot be reset, and was left with {} pages mapped: they stay pinned until `iommufd-user release {}`",
          pages, function_->placement().bdf.str()));
    return;
  }
  if (const Result<void> done = function_->reset(); !done)
    ports_.note(fmt::format("the reset failed ({}); it goes on as it is", errno_name(done.error())));
}

void RealModel::attach_memory(u32, std::span<std::byte>) { IOMMUFD_ASSERT(false); }
void RealModel::detach_memory(u32) { IOMMUFD_ASSERT(false); }

void RealModel::interrupts_set(pci::InterruptUse use) {
  {
    const MutexLock lock(mu_);
    if (use_.load(std::memory_order_relaxed) == use) return;
    end_line();
    use_.store(use, std::memory_order_release);
    if (use == pci::InterruptUse::kIntx) begin_line();
    if (use == pci::InterruptUse::kNone) ports_.interrupts.set_line(pci::Level::kLow);
  }
  poller_.wake();
}

void RealModel::begin_line() {
  if (function_->line() == nullptr) return;
  armed_.store(true, std::memory_order_release);
  const Result<void> started = function_->line()->start([this] {
    armed_.store(false, std::memory_order_release);
    poller_.wake();
  });
  served_ = started.has_value();
  if (served_) return;
  armed_.store(false, std::memory_order_release);
  ports_.note(fmt::format("the kernel's driver does not serve its line ({}): its status is looked at",
                          errno_name(started.error())));
}

void RealModel::end_line() {
  if (served_) function_->line()->stop();
  served_ = false;
  armed_.store(false, std::memory_order_release);
}

// A line that was served is looked at from then on, until it is low: then it may be served again. One look at a time: what an older one
// saw must not come after what a newer one saw.
pci::PollOutcome RealModel::poll_line() {
  pci::PollOutcome outcome;
  if (armed_.load(std::memory_order_acquire)) return outcome;
  const MutexLock lock(mu_);
  if (use_.load(std::memory_order_relaxed) != pci::InterruptUse::kIntx) return outcome;
  outcome.worked = function_->intx_pending();
  ports_.interrupts.set_line(outcome.worked ? pci::Level::kHigh : pci::Level::kLow);
  outcome.watching = outcome.worked || !served_;
  if (outcome.watching || armed_.exchange(true, std::memory_order_acq_rel)) return outcome;
  function_->line()->arm();
  return outcome;
}

pci::PollOutcome RealModel::poll() {
  pci::PollOutcome outcome;
  switch (use_.load(std::memory_order_acquire)) {
    case pci::InterruptUse::kNone: return outcome;
    case pci::InterruptUse::kIntx: return poll_line();
    case pci::InterruptUse::kMessages:
      if (function_->messages() == nullptr) return outcome;
      for (u32 i = 0; i < function_->messages()->vectors(); ++i) {
        if (!function_->messages()->take(i)) continue;
        ports_.interrupts.send_message(i);
        outcome.worked = true;
      }
  }
  outcome.watching = true;
  return outcome;
}

}  // namespace iommufd::host

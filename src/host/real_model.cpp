// SPDX-License-Identifier: BSD-3-Clause
#include "host/real_model.hpp"

#include <fmt/format.h>

#include "base/assert.hpp"

namespace iommufd::host {

RealModel::RealModel(std::shared_ptr<RealFunction> function, pci::ModelPorts ports, models::Poller& poller)
    : function_(std::move(function)), ports_(std::move(ports)), poller_(poller) {
  poller_.add(*this);
}

RealModel::~RealModel() { poller_.remove(*this); }

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
  if (use_.exchange(use, std::memory_order_acq_rel) == use) return;
  if (use == pci::InterruptUse::kNone) ports_.interrupts.set_line(pci::Level::kLow);
  poller_.wake();
}

pci::PollOutcome RealModel::poll() {
  pci::PollOutcome outcome;
  switch (use_.load(std::memory_order_acquire)) {
    case pci::InterruptUse::kNone: return outcome;
    case pci::InterruptUse::kIntx: {
      const bool high = function_->intx_pending();
      ports_.interrupts.set_line(high ? pci::Level::kHigh : pci::Level::kLow);
      outcome.worked = high;
      break;
    }
    case pci::InterruptUse::kMessages:
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

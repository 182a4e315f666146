// SPDX-License-Identifier: BSD-3-Clause
// A function of this machine as a pci::DeviceModel: accesses go to its BARs, a reset to its sysfs file, and interrupts are looked
// for. Its DMA is its own business: what it reaches is memory that was pinned for it, at real addresses.
//
// Thread-safe. Lock: mu_ (kModel).
#pragma once

#include <atomic>
#include <memory>

#include "base/sync.hpp"
#include "host/real_function.hpp"
#include "models/poller.hpp"
#include "pci/device_model.hpp"

namespace iommufd::host {

class RealModel final : public pci::DeviceModel {
 public:
  RealModel(std::shared_ptr<RealFunction> function, pci::ModelPorts ports, models::Poller& poller);
  ~RealModel() override;

  u64 bar_read(u32 bar, u64 offset, u32 size) override { return function_->bars().read(bar, offset, size); }
  void bar_write(u32 bar, u64 offset, u32 size, u64 value) override {
    function_->bars().write(bar, offset, size, value);
  }
  void reset() override;
  // Never: the memory of the BARs is not ours to give.
  void attach_memory(u32 bar, std::span<std::byte> memory) override;
  void detach_memory(u32 bar) override;
  [[nodiscard]] int bar_file(u32 bar) const override { return function_->bars().file(bar); }
  void interrupts_set(pci::InterruptUse use) override;
  Result<u32> messages_begin(pci::MessageKind kind, u32 needed) override {
    return function_->messages_begin(kind, needed);
  }
  void messages_end(pci::MessageKind kind) override { function_->messages_end(kind); }
  pci::PollOutcome poll() override;

 private:
  const std::shared_ptr<RealFunction> function_;
  pci::ModelPorts ports_;
  models::Poller& poller_;
  void begin_line() IOMMUFD_REQUIRES(mu_);
  void end_line() IOMMUFD_REQUIRES(mu_);
  pci::PollOutcome poll_line();

  std::atomic<pci::InterruptUse> use_{pci::InterruptUse::kNone};
  // The driver that serves the line will tell us. False when none does.
  std::atomic<bool> armed_{false};
  Mutex mu_{LockRank::kModel};  // one change of use, or look at the line, at a time
  bool served_ IOMMUFD_GUARDED_BY(mu_) = false;
};

}  // namespace iommufd::host

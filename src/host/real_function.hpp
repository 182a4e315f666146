// SPDX-License-Identifier: BSD-3-Clause
// A PCI function of this machine, opened: what it is (read from its config space and sysfs), its BARs, how its interrupts reach us,
// and its reset. Thread-safe but for config(), which belongs to the pci::Function that is made of it.
//
// Interrupts come through a driver of the kernel where one has the function: through vfio-pci all of them, through uio_pci_generic those of
// the line. Else messages are writes to memory of ours (Messages), and the line is seen by its status bit; both are looked for.
#pragma once

#include <atomic>
#include <expected>
#include <memory>
#include <string>

#include "host/bars.hpp"
#include "host/config_file.hpp"
#include "host/guardian_process.hpp"
#include "host/line.hpp"
#include "host/messages.hpp"
#include "host/vfio_group.hpp"
#include "pci/bdf.hpp"
#include "pci/function_spec.hpp"

namespace iommufd::host {

class RealFunction {
 public:
  // `guardian` outlives it. The error is a sentence for the user: why it may not be taken (usable(), inventory.hpp), or what failed.
  static std::expected<std::shared_ptr<RealFunction>, std::string> open(const pci::Bdf& bdf, Guardian& guardian);

  [[nodiscard]] const pci::FunctionSpec& spec() const { return spec_; }
  [[nodiscard]] const pci::Placement& placement() const { return placement_; }
  [[nodiscard]] const Bars& bars() const { return bars_; }
  // To be looked at. Null: it has no messages, or the kernel delivers them.
  [[nodiscard]] const Messages* messages() const { return messages_.get(); }
  // Where messages go that the kernel delivers (on a thread of ours), and what is to be said of them. Before any is enabled.
  struct MessageSink {
    std::function<void(u32)> sent = [](u32) {};
    std::function<void(std::string_view)> note = [](std::string_view) {};
  };
  void set_message_sink(MessageSink sink);
  // As those of DeviceModel: the kernel's vectors.
  Result<u32> messages_begin(pci::MessageKind kind, u32 needed) const;
  void messages_end(pci::MessageKind kind) const;
  // Null: nobody serves the line, and its status is to be looked at.
  [[nodiscard]] Line* line() const { return vfio_ && vfio_->has_line() ? vfio_.get() : uio_.get(); }
  // Once: the config space, which enables messages only towards messages() or through the kernel.
  [[nodiscard]] std::unique_ptr<ConfigFile> take_config();

  // For the operator: which function this is, and how its interrupts come.
  [[nodiscard]] std::string account() const;

  [[nodiscard]] bool can_reset() const { return spec_.reset != pci::ResetKind::kNone; }
  // Through sysfs: the kernel knows how, and keeps its config space. Errors: those of the write.
  Result<void> reset() const;
  // A driver has left it, and it cannot be reset: what it was told to do by DMA may go on as soon as bus mastering is on again. How many
  // pages stay pinned for that.
  u64 leave_as_it_is() const;
  // Interrupt Status: the function asks by its line, whether that is enabled or not.
  [[nodiscard]] bool intx_pending() const;

 private:
  RealFunction(std::string directory, pci::FunctionSpec spec, pci::Placement placement, Guardian& guardian)
      : directory_(std::move(directory)),
        spec_(std::move(spec)),
        placement_(std::move(placement)),
        guardian_(guardian) {}

  bool set_up_messages(ConfigFile& config, pci::MessageKind kind) const;

  const std::string directory_;
  const pci::FunctionSpec spec_;
  const pci::Placement placement_;
  Guardian& guardian_;
  std::atomic<bool> has_been_live_{false};
  Fd claim_;  // no second user, as long as this lives
  std::unique_ptr<ConfigFile> config_;
  Fd status_;  // a second open of it
  Bars bars_;
  std::unique_ptr<Messages> messages_;
  MessageSink message_sink_;
  std::unique_ptr<VfioGroup> vfio_;
  std::unique_ptr<Line> uio_;
};

}  // namespace iommufd::host

// SPDX-License-Identifier: BSD-3-Clause
// A PCI function of this machine, opened: what it is (read from its config space and sysfs), its BARs, where its messages go, and its
// reset. Thread-safe but for config(), which belongs to the pci::Function that is made of it.
#pragma once

#include <atomic>
#include <expected>
#include <memory>
#include <string>

#include "host/bars.hpp"
#include "host/config_file.hpp"
#include "host/guardian_process.hpp"
#include "host/messages.hpp"
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
  // Null: it has neither MSI nor MSI-X.
  [[nodiscard]] const Messages* messages() const { return messages_.get(); }
  // Once: the config space, which enables messages only towards messages().
  [[nodiscard]] std::unique_ptr<ConfigFile> take_config();

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
};

}  // namespace iommufd::host

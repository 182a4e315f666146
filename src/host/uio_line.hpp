// SPDX-License-Identifier: BSD-3-Clause
// The line of a function that uio_pci_generic has (Linux Documentation/driver-api/uio-howto, "Generic PCI UIO driver"): the driver
// answers an interrupt by setting INTx Disable, and counts it; a read of /dev/uioN takes the count. Whoever clears INTx Disable
// has armed it again.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/event_watcher.hpp"
#include "base/fd.hpp"
#include "host/line.hpp"
#include "host/sysfs.hpp"

namespace iommufd::host {

class UioLine final : public Line {
 public:
  // `folder` is the function's in sysfs. Errors: kNoEnt when the driver has made no file for it, as it does when the function has no
  // line; those of open.
  static Result<std::unique_ptr<UioLine>> open(const std::string& folder, const Roots& roots = {});
  ~UioLine() override;

  Result<void> start(std::function<void()> fired) override;
  void arm() override { disable_intx(false); }
  void stop() override;

 private:
  UioLine(Fd uio, Fd config) : uio_(std::move(uio)), config_(std::move(config)) {}
  void disable_intx(bool on) const;

  const Fd uio_;
  const Fd config_;
  std::optional<EventWatcher::WatchId> watch_;
  EventWatcher watcher_;
};

}  // namespace iommufd::host

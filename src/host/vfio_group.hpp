// SPDX-License-Identifier: BSD-3-Clause
// A function that the kernel's vfio-pci has, opened through the noiommu group that the kernel made for it (spec noiommu 1 and
// vfio-device 10 to 13). It serves us for interrupts alone; registers, config space and reset are reached through sysfs as without it.
//
// Thread-safe but for the line, which is a Line.
#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_watcher.hpp"
#include "base/fd.hpp"
#include "base/sync.hpp"
#include "host/line.hpp"
#include "host/sysfs.hpp"
#include "pci/bdf.hpp"
#include "pci/interrupts.hpp"

namespace iommufd::host {

class VfioGroup final : public Line {
 public:
  // `number` is the group's. The error is a sentence for the user.
  static std::expected<std::unique_ptr<VfioGroup>, std::string> open(pci::Bdf bdf, const std::string& number,
                                                                     const Roots& roots = {});
  ~VfioGroup() override;

  // How many the function has, as the kernel says. 0: none.
  [[nodiscard]] u32 vectors(pci::MessageKind kind) const;
  // From now on `sent` is called with a vector, on a thread of ours, when its message comes. How many vectors the kernel has left, `wanted`
  // at most; with fewer than `needed` nothing is enabled. Errors: the kernel's.
  Result<u32> enable(pci::MessageKind kind, u32 needed, u32 wanted, const std::function<void(u32)>& sent)
      IOMMUFD_EXCLUDES(mu_);
  // When it returns, `sent` is not running, and will not be called. Nothing when they are not enabled.
  void disable(pci::MessageKind kind) IOMMUFD_EXCLUDES(mu_);

  [[nodiscard]] bool has_line() const { return count_of(kLineIndex) != 0; }
  Result<void> start(std::function<void()> fired) override;
  void arm() override;
  void stop() override;

  [[nodiscard]] int device() const { return device_.get(); }

 private:
  static constexpr u32 kLineIndex = 0;
  VfioGroup(Fd container, Fd group, Fd device)
      : container_(std::move(container)), group_(std::move(group)), device_(std::move(device)) {}
  [[nodiscard]] u32 count_of(u32 index) const;
  // Tells the kernel which eventfds stand for the first vectors; how many it would have, when it has fewer.
  Result<u32> set_eventfds(u32 index, const std::vector<Fd>& events) const;
  Result<void> command(u32 index, u32 flags, u32 count) const;
  void drop_locked() IOMMUFD_REQUIRES(mu_);

  const Fd container_, group_, device_;
  std::optional<EventWatcher::WatchId> line_;
  Mutex mu_{LockRank::kModel};
  std::optional<pci::MessageKind> enabled_ IOMMUFD_GUARDED_BY(mu_);
  std::vector<EventWatcher::WatchId> watches_ IOMMUFD_GUARDED_BY(mu_);
  EventWatcher watcher_;
};

}  // namespace iommufd::host

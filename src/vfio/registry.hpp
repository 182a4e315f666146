// SPDX-License-Identifier: BSD-3-Clause
// The functions that the vfio-pci driver was asked to take, and the devices that came of it. Filled while the machine is
// set up, by one thread; only read afterwards, by any.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "core/context.hpp"
#include "vfio/device.hpp"
#include "vfio/event_watcher.hpp"
#include "vfio/group.hpp"

namespace iommufd::vfio {

// The module parameter enable_unsafe_noiommu_mode, sampled at each registration.
enum class UnsafeNoiommu : u8 { kOff, kOn };

// A function that a hot reset would hit, as a client is told (spec vfio-device 14).
struct Dependent {
  enum class Owner : u8 { kBound, kSameGroup, kOther };
  pci::Bdf bdf;
  Owner owner = Owner::kOther;
  ObjectId id{};           // with kBound: the DEVICE object in the asker's context
  Group* group = nullptr;  // null: VFIO has not taken the function, and nobody made a group for it
};

class Registry {
 public:
  Registry() = default;
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // The driver's probe: registers `function`, whose DMA side is `physical`, under the next number. Its group is that of its
  // IOMMU, or one of its own with the number `own_group`. Errors: kInval for a device without an IOMMU while `mode` is off
  // (noiommu 2); the function is there then, but has no VFIO device.
  Result<std::reference_wrapper<Device>> add(pci::Function& function, core::PhysicalDevice& physical,
                                             UnsafeNoiommu mode, u32 own_group);

  // By number.
  [[nodiscard]] std::span<const std::unique_ptr<Device>> devices() const { return devices_; }
  // In the order in which they came.
  [[nodiscard]] std::span<const std::unique_ptr<Group>> groups() const { return groups_; }
  // By the name of the node; null: there is none.
  [[nodiscard]] Device* find(std::string_view name) const;
  [[nodiscard]] EventWatcher& watcher() { return watcher_; }

  // Everything that a reset of the bus of `device` would hit, as seen from `ctx` (null: from outside of every context).
  // Errors: kNoDev on a root bus.
  Result<std::vector<Dependent>> dependents(const Device& device, const core::Context* ctx) const;
  // Resets all of `hit`, what dependents() gave.
  void hot_reset(std::span<const Dependent> hit) const;

 private:
  struct Slot {
    pci::Function* function;
    core::PhysicalDevice* physical;
    Device* device;  // null: the probe failed
  };
  static Dependent describe(const Slot& slot, const core::Context* ctx);

  EventWatcher watcher_;
  std::vector<Slot> slots_;
  std::vector<std::unique_ptr<Group>> groups_;
  std::vector<std::unique_ptr<Device>> devices_;
};

}  // namespace iommufd::vfio

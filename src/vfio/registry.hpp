// SPDX-License-Identifier: BSD-3-Clause
// The functions that VFIO may take, and its registrations of them: devices and groups that come with a probe and go with an
// unregistration, while clients have others open.
//
// Numbers are the kernel's: a device gets the lowest that is free, and so do the node of a group and the group that VFIO makes for a
// device without an IOMMU (noiommu 5).
//
// Lock: mu_ (kVfioRegistry) guards which there are; inside it Group::mu_, while a device enters or leaves its group.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/event_watcher.hpp"
#include "base/ref.hpp"
#include "base/result.hpp"
#include "base/sync.hpp"
#include "core/context.hpp"
#include "vfio/device.hpp"
#include "vfio/group.hpp"

namespace iommufd::vfio {

// The module parameter enable_unsafe_noiommu_mode, sampled at each registration.
enum class UnsafeNoiommu : u8 { kOff, kOn };

// A function that a hot reset would hit, as a client is told (spec vfio-device 14).
struct Dependent {
  enum class Owner : u8 { kBound, kSameGroup, kOther };
  pci::Bdf bdf;
  Owner owner = Owner::kOther;
  ObjectId id{};                        // with kBound: the DEVICE object in the asker's context
  std::optional<u32> iommu_group = {};  // nothing: it has none
  Ref<Group> group = nullptr;           // null: VFIO has not taken the function
};

class Registry {
 public:
  Registry() = default;
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // A function that may be probed, with its DMA side; both outlive the registry. While the machine is set up, all before the
  // first probe: groups of IOMMUs have their numbers then.
  void add(pci::Function& function, core::PhysicalDevice& physical) IOMMUFD_EXCLUDES(mu_);

  // The same: a group that holds no function that may be probed has this number.
  void reserve_group(u32 id) IOMMUFD_EXCLUDES(mu_);

  // The driver's probe: registers `function` under the lowest free number. Its group is that of its IOMMU, or one of its own. Errors:
  // kInval for a device without an IOMMU while `mode` is off (noiommu 2). Pre: it is not registered.
  Result<Ref<Device>> probe(const pci::Function& function, UnsafeNoiommu mode) IOMMUFD_EXCLUDES(mu_);
  // The other end. Pre: begin_leaving() was called, and nobody uses the device.
  void remove(Device& device) IOMMUFD_EXCLUDES(mu_);

  // All there are now. Devices are in the order of their functions, groups in that of their nodes.
  [[nodiscard]] std::vector<Ref<Device>> devices() const IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] std::vector<Ref<Group>> groups() const IOMMUFD_EXCLUDES(mu_);
  // By the name of the node; null: there is none.
  [[nodiscard]] Ref<Device> find(std::string_view name) const IOMMUFD_EXCLUDES(mu_);
  // By the minor number of the node; null: there is none.
  [[nodiscard]] Ref<Group> find_group(u32 minor) const IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] EventWatcher& watcher() { return watcher_; }
  // Another number each time the message vectors of some device have come, grown or gone.
  [[nodiscard]] u64 message_changes() const { return message_changes_.load(std::memory_order_acquire); }

  // Everything that a reset of the bus of `device` would hit, as seen from `ctx` (null: from outside of every context).
  // Errors: kNoDev on a root bus.
  Result<std::vector<Dependent>> dependents(const Device& device, const core::Context* ctx) const IOMMUFD_EXCLUDES(mu_);
  // Resets all of `hit`, what dependents() gave.
  void hot_reset(std::span<const Dependent> hit) const IOMMUFD_EXCLUDES(mu_);

 private:
  // A function for good; what is registered of it comes and goes. Its interrupts stay, since models may send one at any time.
  struct Slot {
    Slot(pci::Function& f, core::PhysicalDevice& p, EventWatcher& watcher, std::atomic<u64>& changes)
        : function(f), physical(p), interrupts(f, watcher, &changes), ioeventfds(f, watcher), dma_bufs(f) {}
    pci::Function& function;
    core::PhysicalDevice& physical;
    Interrupts interrupts;
    Ioeventfds ioeventfds;
    DmaBufs dma_bufs;
    Ref<Device> device;  // guarded by mu_; null: not registered
  };
  // What dependents() needs of one without the lock.
  struct Seen {
    pci::Function* function;
    core::PhysicalDevice* physical;
    Ref<Device> device;
  };
  static Dependent describe(const Seen& seen, const core::Context* ctx);
  // Null: none of its devices is registered.
  [[nodiscard]] Ref<Group> find_group_locked(const core::PhysicalDevice& physical) const IOMMUFD_REQUIRES(mu_);
  [[nodiscard]] Ref<Group> group_of_locked(core::PhysicalDevice& physical) IOMMUFD_REQUIRES(mu_);

  EventWatcher watcher_;
  std::atomic<u64> message_changes_{0};
  mutable Mutex mu_{LockRank::kVfioRegistry};
  std::vector<std::unique_ptr<Slot>> slots_ IOMMUFD_GUARDED_BY(mu_);
  std::vector<Ref<Group>> groups_ IOMMUFD_GUARDED_BY(mu_);
  std::vector<u32> reserved_groups_ IOMMUFD_GUARDED_BY(mu_);
};

}  // namespace iommufd::vfio

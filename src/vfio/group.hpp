// SPDX-License-Identifier: BSD-3-Clause
// The group interface of VFIO (spec vfio-device 18, noiommu 14): an IOMMU group whose devices a program takes together, by
// /dev/vfio/N. A device without an IOMMU has a group of its own, /dev/vfio/noiommu-N, that no IOMMU knows.
//
// A group is open once. What its devices' DMA goes through is a container: a native one, or an iommufd context. While it is
// open its devices cannot be bound through their own nodes, and the other way round. A native container and the devices that were
// opened through it keep the group open after its descriptor is closed.
//
// It is there while a device of it is registered. When the last one goes the group is *gone*: a descriptor of it stays what it is,
// and its calls answer kNoDev; the next registration makes another Group.
//
// Lock: mu_ (kVfioGroup); inside it the container's and, while a device is opened, the device's and the engine's.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/ref.hpp"
#include "base/result.hpp"
#include "base/sync.hpp"
#include "core/context.hpp"
#include "iommu/instance.hpp"
#include "mem/caller.hpp"
#include "vfio/container.hpp"
#include "vfio/device.hpp"
#include "vfio/file_memory.hpp"

namespace iommufd::vfio {

class DeviceFile;

class Group final : public RefCounted {
 public:
  // Of all `functions` that its IOMMU does not tell apart, whichever of them are registered; of a device without an IOMMU there is one
  // for itself. `minor` is the number of its node.
  Group(u32 id, u32 minor, std::vector<core::PhysicalDevice*> functions);
  ~Group() override;

  [[nodiscard]] u32 id() const { return id_; }
  [[nodiscard]] u32 minor_number() const { return minor_; }
  // "N" or "noiommu-N": the node in /dev/vfio and the entry in /sys/class/vfio.
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] bool is_noiommu() const { return noiommu_; }
  [[nodiscard]] iommu::Instance* iommu() const { return iommu_; }
  // What a container attaches: as in hardware, the whole group.
  [[nodiscard]] std::span<core::PhysicalDevice* const> functions() const { return functions_; }
  // One more of them, while the machine is set up.
  void add_function(core::PhysicalDevice& function) { functions_.push_back(&function); }

  // By Registry, of devices that are registered. remove() answers whether the group is gone with it. Pre: nobody has the removed device open.
  void add(Device& device) IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] bool remove(const Device& device) IOMMUFD_EXCLUDES(mu_);

  // A device of the group is about to be bound by its own node, or is no longer. Errors: kBusy (the group is open).
  Result<void> begin_node_bind() IOMMUFD_EXCLUDES(mu_);
  void end_node_bind() IOMMUFD_EXCLUDES(mu_);

  // It is open, or a device of it is bound by its node.
  [[nodiscard]] bool is_used() IOMMUFD_EXCLUDES(mu_);
  // open(2). Errors: kNoDev (gone), kPerm (no IOMMU, and no CAP_SYS_RAWIO), kBusy (open, or a device is bound by its node).
  Result<void> open(mem::Caller& caller) IOMMUFD_EXCLUDES(mu_);
  // The descriptor is closed. Never fails.
  void close() IOMMUFD_EXCLUDES(mu_);

  struct Status {
    bool viable = false;
    bool container_set = false;
  };
  // Errors: kNoDev (gone).
  [[nodiscard]] Result<Status> status() IOMMUFD_EXCLUDES(mu_);
  // Errors: kInval (set already), kNoDev (gone), kPerm (no IOMMU, and no CAP_SYS_RAWIO), those of Container::add().
  Result<void> set_container(Ref<Container> container, mem::Caller& caller) IOMMUFD_EXCLUDES(mu_);
  // Errors: kInval (set already), kNoDev (gone), those of Context::enter_container().
  Result<void> set_container(Ref<core::Context> iommufd) IOMMUFD_EXCLUDES(mu_);
  // Errors: kInval (not set), kBusy (devices are open through a native container).
  Result<void> unset_container() IOMMUFD_EXCLUDES(mu_);

  // The device with that BDF. Errors: kNoDev.
  [[nodiscard]] Result<Ref<Device>> find(std::string_view bdf) IOMMUFD_EXCLUDES(mu_);
  // May a device be opened now? Errors: kInval (no container, or a native one without IOMMU), kPerm (no IOMMU, and no
  // CAP_SYS_RAWIO, or an iommufd that has a compat IOAS).
  Result<void> check_open(mem::Caller& caller) IOMMUFD_EXCLUDES(mu_);
  // Opens a device, enabled and with its DMA on the way that the container says. Errors: those of check_open(), kNoDev (it is
  // being unregistered), kBusy (it is open already), and those of a bind and an attach.
  Result<std::unique_ptr<DeviceFile>> open_device(Device& device, mem::Caller& caller,
                                                  std::unique_ptr<FileMemory> memory) IOMMUFD_EXCLUDES(mu_);
  // By DeviceFile: a device that open_device() opened is closed.
  void device_closed(bool native) IOMMUFD_EXCLUDES(mu_);

 private:
  using AnyContainer = std::variant<std::monostate, Ref<Container>, Ref<core::Context>>;
  [[nodiscard]] bool has_container_locked() const IOMMUFD_REQUIRES(mu_) { return container_.index() != 0; }
  [[nodiscard]] bool may_use(mem::Caller& caller) const;
  Result<void> check_present_locked() const IOMMUFD_REQUIRES(mu_);
  Result<void> check_open_locked(bool rawio) IOMMUFD_REQUIRES(mu_);
  // Lets go of the container. The result is to be dropped without the lock.
  [[nodiscard]] AnyContainer leave_locked() IOMMUFD_REQUIRES(mu_);

  const u32 id_;
  const u32 minor_;
  std::vector<core::PhysicalDevice*> functions_;  // constant once the machine is made
  const bool noiommu_;
  iommu::Instance* const iommu_;  // null: noiommu
  const std::string name_;

  Mutex mu_{LockRank::kVfioGroup};
  std::vector<Device*> devices_ IOMMUFD_GUARDED_BY(mu_);  // none: gone
  bool open_ IOMMUFD_GUARDED_BY(mu_) = false;             // by a descriptor, or by devices of a native container
  bool has_descriptor_ IOMMUFD_GUARDED_BY(mu_) = false;
  u32 node_binds_ IOMMUFD_GUARDED_BY(mu_) = 0;
  u32 native_devices_ IOMMUFD_GUARDED_BY(mu_) = 0;  // open through a native container
  AnyContainer container_ IOMMUFD_GUARDED_BY(mu_);
};

}  // namespace iommufd::vfio

// SPDX-License-Identifier: BSD-3-Clause
// One registration of a function with VFIO: what /dev/vfio/devices/NAME opens. At most one of its opens (DeviceFile) is bound.
//
// It is made by a probe and ends with an unregistration, which waits until every open is closed: each holds a Use. What belongs to
// the function and not to the registration (interrupts, ioeventfds) is the Registry's and outlives it.
//
// Lock order: mu_ (kVfioDevice) guards who uses it, whether it is claimed, and who is bound where, and is held for nothing else.
#pragma once

#include <chrono>
#include <string>
#include <utility>

#include "base/ref.hpp"
#include "base/result.hpp"
#include "base/sync.hpp"
#include "core/device.hpp"
#include "pci/function.hpp"
#include "vfio/dma_bufs.hpp"
#include "vfio/interrupts.hpp"
#include "vfio/ioeventfds.hpp"

namespace iommufd::vfio {

class Group;
class Registry;

class Device final : public RefCounted {
 public:
  // What a function keeps from one registration to the next.
  struct Parts {
    pci::Function& function;
    core::PhysicalDevice& physical;
    Interrupts& interrupts;
    Ioeventfds& ioeventfds;
    DmaBufs& dma_bufs;
  };
  // Made by Registry::probe().
  Device(u32 index, const Parts& parts, Ref<Group> group, Registry& registry);
  ~Device() override;

  // Somebody has it open. Movable, ends with its life.
  class Use {
   public:
    Use(Use&& o) noexcept : device_(std::exchange(o.device_, nullptr)) {}
    Use& operator=(Use&&) = delete;
    ~Use();

   private:
    friend class Device;
    explicit Use(Ref<Device> device) : device_(std::move(device)) {}
    Ref<Device> device_;
  };
  // Errors: kNoDev (it is being unregistered; spec vfio-device 4).
  Result<Use> use() IOMMUFD_EXCLUDES(mu_);

  // Unregistration: from begin_leaving() on there are no new uses.
  void begin_leaving() IOMMUFD_EXCLUDES(mu_);
  // True as soon as nobody uses it; false when `patience` is over.
  bool wait_unused(std::chrono::milliseconds patience) IOMMUFD_EXCLUDES(mu_);

  // N of the name.
  [[nodiscard]] u32 index() const { return index_; }
  // "vfioN", or "noiommu-vfioN": the entry in vfio-dev/ and the node in /dev/vfio/devices/ (noiommu 5).
  [[nodiscard]] const std::string& name() const { return name_; }
  // As decided at registration; never again.
  [[nodiscard]] bool is_noiommu() const { return is_noiommu_; }
  [[nodiscard]] pci::Function& function() const { return parts_.function; }
  [[nodiscard]] core::PhysicalDevice& physical() const { return parts_.physical; }
  [[nodiscard]] Group& group() const { return *group_; }
  [[nodiscard]] Registry& registry() const { return registry_; }
  [[nodiscard]] Interrupts& interrupts() { return parts_.interrupts; }
  [[nodiscard]] Ioeventfds& ioeventfds() { return parts_.ioeventfds; }
  [[nodiscard]] DmaBufs& dma_bufs() { return parts_.dma_bufs; }
  // Resets the function; its memory is out of reach of other devices until that is done.
  void reset();

  // One open at a time may be bound: false when another is.
  bool claim() IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] bool is_claimed() IOMMUFD_EXCLUDES(mu_);
  void unclaim() IOMMUFD_EXCLUDES(mu_);
  // The open that has claimed it is closed, and gives it back as soon as nobody is inside; await_close() returns then, or at once when
  // nothing is being closed. Pre: no lock that a close takes is held.
  void begin_close() IOMMUFD_EXCLUDES(mu_);
  void await_close() IOMMUFD_EXCLUDES(mu_);

  // The binding, while there is one.
  void set_bound(Ref<core::Device> bound) IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] Ref<core::Device> bound() IOMMUFD_EXCLUDES(mu_);

 private:
  const u32 index_;
  const bool is_noiommu_;
  const std::string name_;
  const Parts parts_;
  const Ref<Group> group_;
  Registry& registry_;
  Mutex mu_{LockRank::kVfioDevice};
  CondVar unused_, closed_;
  enum class Claim : u8 { kNone, kHeld, kClosing };
  Claim claim_ IOMMUFD_GUARDED_BY(mu_) = Claim::kNone;
  u32 uses_ IOMMUFD_GUARDED_BY(mu_) = 0;
  bool leaving_ IOMMUFD_GUARDED_BY(mu_) = false;
  Ref<core::Device> bound_ IOMMUFD_GUARDED_BY(mu_);
};

}  // namespace iommufd::vfio

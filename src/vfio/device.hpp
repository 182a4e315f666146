// SPDX-License-Identifier: BSD-3-Clause
// A device that is registered with VFIO: what /dev/vfio/devices/NAME opens. It outlives its opens (DeviceFile); at most
// one of them is bound.
//
// Lock order: mu_ (kVfioDevice) guards who is bound where and is held for nothing else.
#pragma once

#include <atomic>
#include <string>

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

class Device {
 public:
  // Made by Registry::add().
  Device(u32 index, pci::Function& function, core::PhysicalDevice& physical, Group& group, Registry& registry);
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  // N of the name.
  [[nodiscard]] u32 index() const { return index_; }
  // "vfioN", or "noiommu-vfioN": the entry in vfio-dev/ and the node in /dev/vfio/devices/ (noiommu 5).
  [[nodiscard]] const std::string& name() const { return name_; }
  // As decided at registration; never again.
  [[nodiscard]] bool is_noiommu() const { return is_noiommu_; }
  [[nodiscard]] pci::Function& function() const { return function_; }
  [[nodiscard]] core::PhysicalDevice& physical() const { return physical_; }
  [[nodiscard]] Group& group() const { return group_; }
  [[nodiscard]] Registry& registry() const { return registry_; }
  [[nodiscard]] Interrupts& interrupts() { return interrupts_; }
  [[nodiscard]] Ioeventfds& ioeventfds() { return ioeventfds_; }
  [[nodiscard]] DmaBufs& dma_bufs() { return dma_bufs_; }
  // Resets the function; its memory is out of reach of other devices until that is done.
  void reset();

  // One open at a time may be bound: false when another is.
  bool claim() { return !claimed_.exchange(true, std::memory_order_acq_rel); }
  void unclaim() { claimed_.store(false, std::memory_order_release); }

  // The binding, while there is one.
  void set_bound(Ref<core::Device> bound) IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] Ref<core::Device> bound() IOMMUFD_EXCLUDES(mu_);

 private:
  const u32 index_;
  const bool is_noiommu_;
  const std::string name_;
  pci::Function& function_;
  core::PhysicalDevice& physical_;
  Group& group_;
  Registry& registry_;
  Interrupts interrupts_;
  Ioeventfds ioeventfds_;
  DmaBufs dma_bufs_;
  std::atomic<bool> claimed_{false};
  Mutex mu_{LockRank::kVfioDevice};
  Ref<core::Device> bound_ IOMMUFD_GUARDED_BY(mu_);
};

}  // namespace iommufd::vfio

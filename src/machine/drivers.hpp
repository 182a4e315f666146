// SPDX-License-Identifier: BSD-3-Clause
// The drivers of the machine's PCI bus and which function each of them has: what /sys/bus/pci/drivers, drivers_probe and
// driver_override do (spec vfio-device 17). There are two: vfio-pci, and pci-stub, which takes a function and does nothing with it.
//
// A function is matched by its driver_override alone when it has one, otherwise by the ids of a driver (its `ids=` and what new_id
// added). Taking a function from vfio-pci waits until nobody has the device open: from its begin on the function is *leaving*, the
// device cannot be opened any more, and those who have it are asked to let go by the REQ eventfd, at once and every 10 seconds. A
// leaving function is nobody's: who else wants to bind or unbind it waits as well.
//
// Lock: mu_ (kDrivers); inside it those of vfio::Registry. Not held while anybody waits, nor while `changed` is told.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/ref.hpp"
#include "base/result.hpp"
#include "base/sync.hpp"
#include "core/device.hpp"
#include "pci/function.hpp"
#include "vfio/registry.hpp"

namespace iommufd::machine {

// struct pci_device_id, as new_id and `ids=` spell it: hexadecimal numbers.
struct PciId {
  static constexpr u32 kAny = ~u32{0};
  u32 vendor = kAny;
  u32 device = kAny;
  u32 subsystem_vendor = kAny;
  u32 subsystem_device = kAny;
  u32 class_code = 0;
  u32 class_mask = 0;
  friend bool operator==(const PciId&, const PciId&) = default;
};

class Drivers {
 public:
  static constexpr std::string_view kVfioPci = "vfio-pci", kPciStub = "pci-stub";
  static constexpr std::chrono::seconds kRequestPeriod{10};

  // A write that takes time: does the writer wait for its end, or is it gone on already?
  enum class Wait : u8 { kYes, kNo };

  struct State {
    std::string_view driver;  // empty: none
    Ref<vfio::Device> vfio;   // with vfio-pci, while it is registered
    std::string driver_override;
  };

  // `noiommu` is enable_unsafe_noiommu_mode at that moment; `log` gets what the kernel would log, a line each.
  Drivers(vfio::Registry& registry, std::function<bool()> noiommu, std::function<void(std::string_view)> log);
  ~Drivers() { stop(); }
  Drivers(const Drivers&) = delete;
  Drivers& operator=(const Drivers&) = delete;

  // While the machine is set up: a function on the bus.
  void add(pci::Function& function, core::PhysicalDevice& physical) IOMMUFD_EXCLUDES(mu_);
  // The same: vfio-pci is loaded, with the functions' own ids as its `ids=`, and takes what it can.
  void load_vfio_pci() IOMMUFD_EXCLUDES(mu_);
  // The end: nothing of ours is done any more, and what is still leaving stays so. Pre: nobody is inside, or comes later.
  void stop() IOMMUFD_EXCLUDES(mu_);
  // To be told, without locks, after each change of a state.
  void set_changed(std::function<void()> changed) { changed_ = std::move(changed); }

  [[nodiscard]] static std::vector<std::string_view> names() { return {kVfioPci, kPciStub}; }
  // `ids=` that vfio-pci was loaded with.
  [[nodiscard]] const std::string& vfio_pci_ids() const { return vfio_pci_ids_; }
  [[nodiscard]] State state(const pci::Function& function) const IOMMUFD_EXCLUDES(mu_);

  // Writes to the files of a driver. `text` is what was written.
  // Errors: kNoDev (no such function, or the driver does not match it), kBusy (it has a driver; with Wait::kNo: it is leaving),
  // those of the probe (kInval).
  Result<void> bind(std::string_view driver, std::string_view text, Wait wait) IOMMUFD_EXCLUDES(mu_);
  // Errors: kNoDev (it is not this driver's). kBusy (Wait::kNo: it is leaving already).
  Result<void> unbind(std::string_view driver, std::string_view text, Wait wait) IOMMUFD_EXCLUDES(mu_);
  // Errors: kInval (not two to seven numbers, or driver data that the driver does not know), kExist (matched already).
  Result<void> new_id(std::string_view driver, std::string_view text) IOMMUFD_EXCLUDES(mu_);
  // Errors: kInval, kNoDev (there is no such id).
  Result<void> remove_id(std::string_view driver, std::string_view text) IOMMUFD_EXCLUDES(mu_);
  // A write to drivers_probe: a driver that matches is asked. Errors: kNoDev (no such function); not those of the probe.
  Result<void> probe(std::string_view text, Wait wait) IOMMUFD_EXCLUDES(mu_);
  // `enable`: how often the function is enabled, by its driver or by writes; a write of 1 or 0. Errors: kBusy (it has a driver),
  // kIo (it is not enabled).
  [[nodiscard]] u32 enable_count(const pci::Function& function) const IOMMUFD_EXCLUDES(mu_);
  Result<void> set_enabled(const pci::Function& function, bool on) IOMMUFD_EXCLUDES(mu_);
  // A write to driver_override. Errors: kInval (a page or more).
  Result<void> set_override(const pci::Function& function, std::string_view text) IOMMUFD_EXCLUDES(mu_);

 private:
  struct Driver {
    std::string_view name;
    std::vector<PciId> ids;
  };
  struct Slot {
    Slot(pci::Function& f, core::PhysicalDevice& p) : function(f), physical(p) {}
    pci::Function& function;
    core::PhysicalDevice& physical;
    // Guarded by mu_:
    Driver* driver = nullptr;
    Ref<vfio::Device> vfio;
    bool leaving = false;
    u32 enables = 0;  // by writes
    std::string driver_override;
    // Of an unbind that nobody waits for. Whoever sets `leaving` has it.
    std::jthread remover;
  };

  Driver& driver_locked(std::string_view name) IOMMUFD_REQUIRES(mu_);
  [[nodiscard]] Slot& slot_locked(const pci::Function& function) const IOMMUFD_REQUIRES(mu_);
  // Null: no function has this address.
  Slot* find_locked(std::string_view text) IOMMUFD_REQUIRES(mu_);
  // Until it is not leaving. Errors: kBusy (Wait::kNo).
  Result<void> settle_locked(Slot& slot, Wait wait) IOMMUFD_REQUIRES(mu_);
  static bool matches(const Driver& driver, const Slot& slot);
  Result<void> probe_locked(Driver& driver, Slot& slot) IOMMUFD_REQUIRES(mu_);
  // Asks those who have the device to let go, for the asked-th time (from 0).
  void ask_release(vfio::Device& device, u32 asked);
  // Waits until nobody has the device, asking now and then, and ends its registration. `asked`: how often that was done already.
  void finish_leaving(Slot& slot, const Ref<vfio::Device>& device, u32 asked) IOMMUFD_EXCLUDES(mu_);
  void tell_changed() {
    if (changed_) changed_();
  }

  vfio::Registry& registry_;
  const std::function<bool()> noiommu_;
  const std::function<void(std::string_view)> log_;
  std::function<void()> changed_;
  std::string vfio_pci_ids_;
  std::atomic<bool> ending_{false};

  mutable Mutex mu_{LockRank::kDrivers};
  CondVar settled_;
  std::vector<Driver> drivers_ IOMMUFD_GUARDED_BY(mu_);
  std::vector<std::unique_ptr<Slot>> slots_ IOMMUFD_GUARDED_BY(mu_);
};

}  // namespace iommufd::machine

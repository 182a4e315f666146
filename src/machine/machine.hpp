// SPDX-License-Identifier: BSD-3-Clause
// The composition: physical memory, IOMMUs, PCI functions with their models, and the drivers of their bus, built from a
// MachineSpec by one thread. Only drivers and their devices change afterwards (drivers.hpp).
//
// Groups are as assign_groups() says.
#pragma once

#include <atomic>
#include <expected>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/device.hpp"
#include "host/guardian_process.hpp"
#include "iommu/device_port.hpp"
#include "iommu/platform.hpp"
#include "machine/drivers.hpp"
#include "machine/fault_report.hpp"
#include "machine/spec.hpp"
#include "mem/physical_memory.hpp"
#include "models/poller.hpp"
#include "models/registry.hpp"
#include "pci/bridge.hpp"
#include "pci/function.hpp"
#include "selftest/world.hpp"
#include "vfio/device.hpp"
#include "vfio/registry.hpp"

namespace iommufd::machine {

// With the defaults of what the description leaves open.
mem::PhysPolicy phys_policy(const PhysSpec& spec);

struct MachineDevice {
  DeviceSpec spec;
  std::unique_ptr<iommu::DevicePort> port;
  core::PhysicalDevice physical;
  std::unique_ptr<pci::Function> function;
};

struct MachineBridge {
  MachineBridge(const BridgeSpec& described, const pci::Bridge::Spec& placed, const iommu::Instance* above, u32 number)
      : spec(described), bridge(placed), iommu(above), group_id(number) {}
  const BridgeSpec spec;
  pci::Bridge bridge;
  const iommu::Instance* const iommu;  // null: none
  const u32 group_id;                  // with an IOMMU
};

class Machine {
 public:
  // What the kernel would log, a line each.
  using Log = std::function<void(std::string_view)>;

  // The error is a sentence for the user: what, where, what to do. Pre: devices have addresses and bridges their secondary buses,
  // the IOMMUs of devices are there, no group conflicts, and the topology has no mistake.
  static std::expected<std::unique_ptr<Machine>, std::string> create(const MachineSpec& spec, Log log);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  // Null: there is no real function.
  [[nodiscard]] mem::PinKeeper* pin_keeper() { return guardian_.get(); }
  // The functions of this machine that are among the devices: which each is, and how its interrupts come (a clause).
  [[nodiscard]] std::span<const std::string> real_functions() const { return real_functions_; }
  [[nodiscard]] iommu::Platform& platform() { return *platform_; }
  [[nodiscard]] std::span<const std::unique_ptr<MachineDevice>> devices() const { return devices_; }
  [[nodiscard]] std::span<const std::unique_ptr<MachineBridge>> bridges() const { return bridges_; }
  // In the order of the description.
  [[nodiscard]] std::span<const std::unique_ptr<iommu::Instance>> iommus() const { return iommus_; }
  [[nodiscard]] models::Poller& poller() { return poller_; }
  // Null: no test ABI.
  [[nodiscard]] selftest::World* selftest() { return selftest_.get(); }
  // enable_unsafe_noiommu_mode of the module vfio. Drivers ask when they probe a device, containers each time.
  [[nodiscard]] bool unsafe_noiommu() const { return noiommu_.load(); }
  void set_unsafe_noiommu(bool on) { noiommu_.store(on); }
  [[nodiscard]] ContainerKind container() const { return container_; }
  [[nodiscard]] const vfio::Registry& vfio() const { return registry_; }
  [[nodiscard]] Drivers& drivers() { return drivers_; }
  // What VFIO has registered of the device; null: it is not bound to vfio-pci.
  [[nodiscard]] Ref<vfio::Device> vfio(const MachineDevice& device) const {
    return drivers_.state(*device.function).vfio;
  }
  // Some device has registers that a client may map: somebody has to look at them.
  [[nodiscard]] bool needs_poller() const { return needs_poller_; }

 private:
  Machine(const MachineSpec& spec, Log log);
  void add(const IommuSpec& spec);
  void add(const DeviceSpec& spec, const models::Blueprint& blueprint, std::unique_ptr<pci::HardwareConfig> real,
           const pci::Placement& placement, std::optional<u32> group);
  // By the name of the description.
  [[nodiscard]] iommu::Instance* find_iommu(std::string_view name) const;

  std::atomic<bool> noiommu_;
  const ContainerKind container_;
  const Log log_;
  FaultReport faults_;
  std::unique_ptr<host::Guardian> guardian_;  // of real functions
  std::unique_ptr<iommu::Platform> platform_;
  std::unique_ptr<selftest::World> selftest_;
  std::vector<std::unique_ptr<iommu::Instance>> iommus_;
  std::vector<std::string> iommu_names_;  // of the description
  std::vector<std::string> real_functions_;
  models::Poller poller_;
  vfio::Registry registry_;  // interrupts of the devices go to it until they end
  std::vector<std::unique_ptr<MachineDevice>> devices_;
  std::vector<std::unique_ptr<MachineBridge>> bridges_;
  Drivers drivers_;
  bool needs_poller_ = false;
};

}  // namespace iommufd::machine

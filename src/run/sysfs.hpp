// SPDX-License-Identifier: BSD-3-Clause
// What Linux shows of a machine in /dev and /sys, as far as programs that use iommufd and VFIO read it: builds the
// PathTree from plain data (spec vfio-device 17, noiommu 4 and 5, clients 1). The composition fills the data; nothing
// here knows the engine.
//
// The layout is the kernel's: a function is a real directory /sys/devices/pciDDDD:BB/[BDF of each bridge above it/]BDF (a bus without
// a bridge stands for a root bus of its own), everything else are links to it. A device without a driver is there without `driver` and `vfio-dev`.
//
// A tree is one state of the machine; what changes its shape is followed by another tree.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/types.hpp"
#include "iommu/reserved.hpp"
#include "pci/bdf.hpp"
#include "pci/function_spec.hpp"
#include "run/fault_plans.hpp"
#include "run/path_tree.hpp"

namespace iommufd::run {

// A character device: its number and the index that Service::open() gets.
struct CharDevice {
  DeviceNumber rdev;
  u32 opener = 0;
};

// The class device and node of a device that VFIO drives.
struct VfioNode {
  std::string name;  // "vfio0", "noiommu-vfio1"
  CharDevice device;
};

using ReadText = std::function<std::string()>;

struct PciDeviceInfo {
  pci::Bdf bdf;
  std::vector<pci::Bdf> bridges;  // above it, from the root bus down
  u16 vendor = 0;
  u16 device = 0;
  u16 subsystem_vendor = 0;
  u16 subsystem_device = 0;
  u32 class_code = 0;  // 24 bits
  u8 revision = 0;
  std::array<pci::Resource, 7> resources{};  // BAR 0 to 5, expansion ROM; all 0 where there is none
  std::vector<u32> message_irqs;             // the numbers of its message interrupts, while there are some
  bool message_irqs_msix = false;            // they are of MSI-X
  bool had_message_irqs = false;             // there have been some since a driver took it
  std::vector<u32> mappable_bars;            // those with a file `resourceN`
  std::vector<pci::Resource> windows;        // of a bridge
  u32 irq = 0;
  s32 numa_node = -1;
  u32 config_size = 256;                                                 // 256 or 4096
  std::function<std::string()> config;                                   // the whole config space, now; thread-safe
  std::function<void(u32 offset, std::string_view bytes)> write_config;  // inside the space; thread-safe
  u64 rom_size = 0;                                                      // of the expansion ROM's BAR; 0: none
  std::function<Result<std::string>()> rom;                              // what a read of `rom` gives
  std::function<void(bool)> enable_rom;                                  // what a write to it does
  std::function<void()> reset;                                           // of the function alone; empty: it has none
  std::function<bool()> low_power;             // VFIO has put it into low power; empty function: never
  std::atomic<bool>* runtime_power = nullptr;  // `power/control`: may it sleep? Outlives the tree; null: no `power`
  std::function<u32()> enable_count;           // `enable`: how many users have the function enabled; empty function: 0
  std::function<Result<void>(bool)> set_enabled;  // a write to it; empty function: EIO
  std::optional<u32> iommu_group;                 // only behind an IOMMU
  std::string iommu;                              // name of its IommuInfo; empty without one
  std::string driver;                             // name of its DriverInfo; empty: none is bound
  std::optional<VfioNode> vfio;                   // with vfio-pci
  ReadText driver_override;                       // what is set, empty: nothing
  WriteContent set_driver_override;
};

// A bridge; its function has no node.
struct BridgeInfo {
  PciDeviceInfo function;
  u8 secondary = 0;
  u8 subordinate = 0;
};

// A driver of the PCI bus, and its module. What is written to its files is the driver core's business.
struct DriverInfo {
  std::string name;    // "vfio-pci"
  std::string module;  // "vfio_pci"
  WriteContent bind, unbind, new_id, remove_id;
  std::vector<std::pair<std::string, std::string>> parameters;  // of the module: name, content with newline
};

// /sys/bus/pci/drivers_probe and drivers_autoprobe.
struct DriverProbing {
  WriteContent probe;
  std::function<bool()> autoprobe;
  std::function<void(bool)> set_autoprobe;
};

// An IOMMU instance, e.g. "dmar0" with "intel-iommu/cap", or "ivhd0" with "amd-iommu/features".
struct IommuInfo {
  std::string name;
  std::vector<std::pair<std::string, std::string>> attributes;  // path below the instance, content with newline
};

// An IOMMU group; its devices are those that name it.
struct GroupInfo {
  u32 id = 0;
  std::string name;          // as whoever made the group said; empty: nothing
  std::string type = "DMA";  // type of the default domain
  std::vector<iommu::ReservedRegion> reserved;
};

// The module parameter enable_unsafe_noiommu_mode.
struct NoiommuParameter {
  std::function<bool()> get;
  std::function<void(bool)> set;  // empty function: the file cannot be written (EIO)
};

struct MachineInfo {
  CharDevice iommufd;                 // /dev/iommu
  CharDevice container;               // /dev/vfio/vfio
  std::vector<VfioNode> vfio_groups;  // /dev/vfio/NAME
  std::vector<BridgeInfo> bridges;
  std::vector<PciDeviceInfo> devices;
  std::vector<IommuInfo> iommus;
  std::vector<GroupInfo> groups;
  std::vector<DriverInfo> drivers;
  DriverProbing probing;
  NoiommuParameter noiommu;
  FaultPlans* faults = nullptr;  // not null: with the fault injection of debugfs; outlives the tree
};

// Numbers that a kernel hands out dynamically: misc minors count up from 256, majors down from 254 and then from 511.
// Ours are at the far ends, where a running Linux has nothing.
inline constexpr u32 kMiscMajor = 10;
inline constexpr u32 kVfioMinor = 196;  // fixed
inline constexpr u32 kIommufdMinor = 1'000'000;
inline constexpr u32 kVfioDeviceMajor = 384;
inline constexpr u32 kVfioGroupMajor = 385;

// Pre: addresses and names differ; each group, IOMMU and driver that a device names is there.
PathTree build_tree(const MachineInfo& machine);

}  // namespace iommufd::run

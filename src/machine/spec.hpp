// SPDX-License-Identifier: BSD-3-Clause
// What a machine is to be made of, as plain data: command line and machine file are parsed into it and the composition builds
// from it.
// Nothing here knows which models exist or what their keys mean.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/types.hpp"
#include "iommu/kind.hpp"
#include "iommu/reserved.hpp"
#include "pci/bdf.hpp"

namespace iommufd::machine {

struct IommuSpec {
  std::string name;                             // what devices call it; unique
  iommu::Kind kind = iommu::Kind::kAmd;         // neither kNone nor kMock
  std::vector<iommu::ReservedRegion> reserved;  // beside what its kind reserves
};

inline constexpr std::string_view kNoIommu = "none";

// An IOMMU group: its number, or a name that devices share; the machine gives it a number then.
using GroupLabel = std::variant<u32, std::string>;

// What of a function's identity is not to be the model's: programs that choose devices by their ids find it then.
struct Identity {
  std::optional<u16> vendor, device, subsystem_vendor, subsystem_device;
  std::optional<u32> class_code;  // 24 bits
  std::optional<u8> revision;
  friend bool operator==(const Identity&, const Identity&) = default;
};

// One `-d MODEL[,addr=...][,iommu=...][,group=...][,KEY=VALUE...]`, or one of `devices` in a machine file.
struct DeviceSpec {
  std::string model;
  std::optional<pci::Bdf> address;               // assign_addresses() gives the ones that are missing
  std::string iommu = "amd";                     // what translates its DMA: an IommuSpec's name, a kind's, or kNoIommu
  std::shared_ptr<const std::vector<u8>> rom{};  // what its expansion ROM holds; null: it has none
  std::optional<GroupLabel> group;               // absent: by topology (groups.hpp)
  Identity identity = {};
  std::vector<std::pair<std::string, std::string>> keys;  // in the order given; known to the model, values unchecked
};

// --phys: how client pages become frames of the simulated physical memory.
struct PhysSpec {
  enum class Kind : u8 { kFragmented, kContiguous, kReal };  // kReal: with real functions, and only then
  Kind kind = Kind::kFragmented;
  std::optional<u64> seed;  // kFragmented
  std::optional<u64> base;  // kContiguous, bytes: where RAM begins
  std::optional<u64> size;  // kContiguous, bytes: how much there is
  friend bool operator==(const PhysSpec&, const PhysSpec&) = default;
};

// --enable-unsafe-noiommu-mode: without it the probe of a device without an IOMMU fails, as in the kernel.
enum class NoiommuMode : u8 { kOff, kOn };

// --selftest: the test ABI of the kernel's iommufd selftests.
enum class Selftest : u8 { kOff, kOn };

// --container: what /dev/vfio/vfio is.
enum class ContainerKind : u8 {
  kNative,   // VFIO's own containers, with type1 and noiommu
  kIommufd,  // an iommufd (CONFIG_IOMMUFD_VFIO_CONTAINER)
};

// Bridges between functions and their root bus.
enum class BridgeKind : u8 { kRootPort, kUpstream, kDownstream, kConventional };
enum class Acs : u8 { kOff, kOn };  // access control: keeps what is below apart from all else
struct BridgeSpec {
  pci::Bdf address;
  BridgeKind kind = BridgeKind::kRootPort;
  std::optional<u8> secondary;  // the bus below it; assign_secondary_buses() gives the ones that are missing
  Acs acs = Acs::kOff;
};

// Everything that the machine is made of.
struct MachineSpec {
  std::vector<IommuSpec> iommus;
  std::vector<BridgeSpec> bridges;
  std::vector<DeviceSpec> devices;
  NoiommuMode noiommu = NoiommuMode::kOff;
  PhysSpec phys;
  Selftest selftest = Selftest::kOff;
  ContainerKind container = ContainerKind::kNative;
  // Hidden option --seed-dma-fault=N, for tests of clients: the N-th write (from 1) that each device does by DMA has one
  // bit flipped.
  std::optional<u64> seed_dma_fault;
};

// Gives each device without an address the next free one of 0000:01:00.0, 0000:02:00.0, ... 0000:ff:00.0, then
// 0001:00:00.0 on, of buses that no bridge of `bridges` has below it. Returns the first address that is said twice, or nothing when all differ.
std::optional<pci::Bdf> assign_addresses(std::vector<DeviceSpec>& devices, const std::vector<BridgeSpec>& bridges = {});

// Adds an IOMMU for each kind that a device names and that no IOMMU has as its name.
void add_implied_iommus(MachineSpec& spec);

}  // namespace iommufd::machine

// SPDX-License-Identifier: BSD-3-Clause
// What kind of PCI function a model is, as data, and where the machine puts it.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "base/types.hpp"
#include "pci/bdf.hpp"

namespace iommufd::pci {

inline constexpr u32 kBarCount = 6;
inline constexpr u32 kMaxMsixVectors = 2048;  // PCI 3.0, 6.8.2.3

enum class BarKind : u8 { kNone, kMemory32, kMemory64, kIo };
enum class Prefetch : u8 { kNo, kYes };
enum class Mappable : u8 { kNo, kYes };  // may the client map it (VFIO_REGION_INFO_FLAG_MMAP)?
// How the device learns what clients store into a mapped BAR: it looks at the memory, or each store is an access of its own (where the
// carrier of the calls can trap them; the model has to look at the memory in any case).
enum class MappedStores : u8 { kPolled, kTrapped };

// A part of a BAR, in whole pages.
struct BarArea {
  u64 offset = 0;
  u64 size = 0;
  friend constexpr bool operator==(BarArea, BarArea) = default;
};

struct BarSpec {
  BarKind kind = BarKind::kNone;
  u64 size = 0;  // a power of two; a memory BAR that is mappable has at least a page
  Prefetch prefetch = Prefetch::kNo;
  Mappable mappable = Mappable::kNo;
  MappedStores stores = MappedStores::kPolled;
  std::vector<BarArea> areas{};  // of a mappable BAR: what may be mapped; inside it, apart, ascending. Empty: all of it
};

// Everywhere below, `at` is where a capability begins; 0: behind the one before it.

enum class VectorMask : u8 { kNo, kYes };
// An MSI capability with a 64-bit address.
struct MsiSpec {
  unsigned vectors_lg2 = 0;  // Multiple Message Capable: 0..5
  VectorMask mask = VectorMask::kNo;
  u8 at = 0;
};

// An MSI-X capability. The function answers for the table and the pending bits, which lie inside their BARs; the model for the
// rest of these BARs.
struct MsixSpec {
  u32 vectors = 1;  // 1 to kMaxMsixVectors
  u32 table_bar = 0;
  u64 table_offset = 0;  // a multiple of 8, as the next
  u32 pending_bar = 0;
  u64 pending_offset = 0;
  u8 at = 0;

  [[nodiscard]] constexpr u64 table_size() const { return u64{vectors} * 16; }
  [[nodiscard]] constexpr u64 pending_size() const { return (u64{vectors} + 63) / 64 * 8; }
};

// A power management capability with the states D0 and D3hot. kLost: the way back from D3hot is a reset (No_Soft_Reset is 0).
enum class StateInD3 : u8 { kLost, kKept };
struct PmSpec {
  StateInD3 state = StateInD3::kLost;
  u8 at = 0;
};

// A PCI Express capability, version 2. The values are those of its Device/Port Type.
enum class PcieType : u8 { kEndpoint = 0, kRootPort = 4, kUpstream = 5, kDownstream = 6 };
struct PcieSpec {
  PcieType type = PcieType::kEndpoint;
  unsigned max_payload_lg2 = 1;  // Max_Payload_Size Supported: 128 bytes << this, 0..5
  u8 link_speed = 3;             // 1: 2.5 GT/s, 2: 5, 3: 8, 4: 16
  u8 link_width = 4;
  u8 at = 0;
};

// Any other capability, as its bytes after the two of the list header. Masks are per byte; where they are shorter than `bytes`
// they are 0.
struct CapabilitySpec {
  u8 id = 0;
  std::vector<u8> bytes;
  std::vector<u8> writable{};
  u8 at = 0;
};

// The same in extended space, after the four bytes of the list header. Only with PCI Express.
struct ExtendedCapabilitySpec {
  u16 id = 0;
  u8 version = 1;
  std::vector<u8> bytes;
  std::vector<u8> writable{};
  std::vector<u8> clearing{};  // bits that a written 1 clears
  u16 at = 0;
};

// A register that belongs to no capability.
struct RegisterSpec {
  u16 offset = 0;
  u8 width = 4;  // 1, 2 or 4
  u32 value = 0;
  u32 writable = 0;
  u32 clearing = 0;  // bits that a written 1 clears
};

enum class ResetKind : u8 { kNone, kFunction };  // does a reset of this function alone exist?

struct FunctionSpec {
  u16 vendor = 0;
  u16 device = 0;
  u8 revision = 0;
  u32 class_code = 0;  // 24 bits: base, sub, programming interface
  u16 subsystem_vendor = 0;
  u16 subsystem_device = 0;
  u8 interrupt_pin = 0;                   // 1: INTA; 0: none
  std::array<BarSpec, kBarCount> bars{};  // a 64-bit BAR takes its own slot and the next one
  // In the order of the list.
  std::optional<MsiSpec> msi{};
  std::optional<MsixSpec> msix{};
  std::optional<PmSpec> pm{};
  std::optional<PcieSpec> pcie{};  // with 4096 bytes of config space
  std::vector<CapabilitySpec> capabilities{};
  std::vector<ExtendedCapabilitySpec> extended{};
  std::vector<RegisterSpec> registers{};
  // What the expansion ROM holds; null: there is none. As large as the next power of two, at least 2 KiB.
  std::shared_ptr<const std::vector<u8>> rom{};
  ResetKind reset = ResetKind::kNone;  // by PCI Express, when there is such a capability
};

// A serial number (PCIe 7.9.3).
ExtendedCapabilitySpec serial_number(u64 number);
// Advanced error reporting of an endpoint or port, without a log (PCIe 7.8.4).
ExtendedCapabilitySpec error_reporting();
// Access control services: what can be switched on, and is (PCIe 7.7.8): bits of the control register.
inline constexpr u16 kAcsIsolation = 0x1d;  // source validation, request and completion redirect, upstream forwarding
ExtendedCapabilitySpec access_control(u16 services);
// A function reset for conventional functions.
CapabilitySpec advanced_features();

// Size of the expansion ROM's BAR; 0: there is none.
u64 rom_bar_size(const FunctionSpec& spec);

// Where the machine puts a function. bar_base[i] is naturally aligned; 0 where there is no BAR.
struct Placement {
  Bdf bdf;
  std::array<u64, kBarCount> bar_base{};
  u64 rom_base = 0;
  u32 irq = 0;                  // number of the line that INTx is routed to; 0: not connected
  bool multi_function = false;  // there are other functions in its slot
  bool seen_by_peers = true;    // other devices reach its BARs there
  std::vector<Bdf> bridges{};   // above it, from the root bus down
  std::vector<u8> buses{};      // behind each of them; the last is its own
};

// A line of the sysfs file `resource`.
struct Resource {
  u64 start = 0;
  u64 end = 0;  // inclusive, as sysfs prints it
  u64 flags = 0;
};

}  // namespace iommufd::pci

// SPDX-License-Identifier: BSD-3-Clause
// What kind of PCI function a model is, as data, and where the machine puts it.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "base/types.hpp"
#include "pci/bdf.hpp"

namespace iommufd::pci {

inline constexpr u32 kBarCount = 6;

enum class BarKind : u8 { kNone, kMemory32, kMemory64, kIo };
enum class Prefetch : u8 { kNo, kYes };
enum class Mappable : u8 { kNo, kYes };  // may the client map it (VFIO_REGION_INFO_FLAG_MMAP)?

struct BarSpec {
  BarKind kind = BarKind::kNone;
  u64 size = 0;  // a power of two; a memory BAR that is mappable has at least a page
  Prefetch prefetch = Prefetch::kNo;
  Mappable mappable = Mappable::kNo;
};

// An MSI capability with a 64-bit address and no per-vector mask.
struct MsiSpec {
  unsigned vectors_lg2 = 0;  // Multiple Message Capable: 0..5
};

// Any other capability, as its bytes after the two of the list header.
struct CapabilitySpec {
  u8 id = 0;
  std::vector<u8> bytes;
  std::vector<u8> writable;  // mask per byte; shorter than `bytes`: the rest is read-only
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
  std::optional<MsiSpec> msi;
  std::vector<CapabilitySpec> capabilities{};  // after MSI in the list
  ResetKind reset = ResetKind::kNone;
};

// Where the machine puts a function. bar_base[i] is naturally aligned; 0 where there is no BAR.
struct Placement {
  Bdf bdf;
  std::array<u64, kBarCount> bar_base{};
  u32 irq = 0;  // number of the line that INTx is routed to; 0: not connected
};

// A line of the sysfs file `resource`.
struct Resource {
  u64 start = 0;
  u64 end = 0;  // inclusive, as sysfs prints it
  u64 flags = 0;
};

}  // namespace iommufd::pci

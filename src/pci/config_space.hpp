// SPDX-License-Identifier: BSD-3-Clause
// The configuration space of a function or bridge as its hardware holds it: bytes, which of their bits a write can change or
// clear, what they are after a reset, and where the capabilities are. What a VFIO client sees of it is VirtualConfig's matter.
// function_config() and bridge_config() fill one. Not thread-safe: whoever has it locks around it.
#pragma once

#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/types.hpp"
#include "pci/function_spec.hpp"
#include "pci/interrupts.hpp"

namespace iommufd::pci {

enum class PowerState : u8 { kD0, kD3hot };

class ConfigSpace {
 public:
  // A capability in one of the lists: [start, start + length).
  struct Capability {
    u16 id = 0;
    u32 start = 0;
    u32 length = 0;
  };
  // Bits that a write changes, and bits that a written 1 clears.
  struct Masks {
    u32 writable = 0;
    u32 clearing = 0;
  };

  explicit ConfigSpace(u32 size) : bytes_(size), initial_(size), writable_(size), clearing_(size) {}

  // --- building ---
  // A register with the value that it has after a reset.
  void put(u32 offset, u32 width, u32 value, Masks masks);
  void put(u32 offset, u32 width, u32 value) { put(offset, width, value, Masks{}); }
  // Links a capability of `length` bytes, header included, at `at` or (0) behind the last one. Returns its start.
  u32 link(u8 id, u32 length, u32 at);
  u32 link_extended(u16 id, u8 version, u32 length, u32 at);

  [[nodiscard]] u32 size() const { return static_cast<u32>(bytes_.size()); }
  // `width` is 1, 2 or 4, `offset` aligned to it and inside the space.
  [[nodiscard]] u32 read(u32 offset, u32 width) const;
  // What a write does to hardware. A power state that does not exist is dropped.
  void write(u32 offset, u32 width, u32 value);
  // Changes the value of a register that the hardware itself keeps up: pending bits, for one.
  void show(u32 offset, u32 width, u32 value);

  [[nodiscard]] u16 command() const { return static_cast<u16>(read(0x04, 2)); }
  // Start of a capability of the first list.
  [[nodiscard]] std::optional<u32> find(u8 id) const;
  [[nodiscard]] const std::vector<Capability>& capabilities() const { return capabilities_; }
  [[nodiscard]] const std::vector<Capability>& extended() const { return extended_; }
  [[nodiscard]] const std::vector<u8>& bytes() const { return bytes_; }

  [[nodiscard]] PowerState power() const;
  void set_power(PowerState state);

  // The Interrupt Status bit follows the line.
  void set_line(Level level);
  // All registers as they are after a reset.
  void reset() { bytes_ = initial_; }
  // Was a function reset asked for by a write since the last call? The bits that do it read 0.
  bool take_reset_request() { return std::exchange(reset_requested_, false); }
  // Puts back what `saved` held (all bytes, read-only ones too). Pre: a copy of this space.
  void restore(const ConfigSpace& saved) { bytes_ = saved.bytes_; }

 private:
  void absorb_reset_bit(u32 offset, u32 width, u32 bit);

  std::vector<u8> bytes_;
  std::vector<u8> initial_;
  std::vector<u8> writable_;  // masks per byte
  std::vector<u8> clearing_;
  std::vector<Capability> capabilities_;
  std::vector<Capability> extended_;
  bool reset_requested_ = false;
};

// A write of any size and place to the hardware, in aligned accesses of 4, 2 and 1 bytes. Pre: inside the space.
void write_hardware(ConfigSpace& config, u32 offset, std::span<const std::byte> in);

// As it is once firmware has placed the function: BARs set, decoding on.
ConfigSpace function_config(const FunctionSpec& spec, const Placement& placement);
// Links a PCI Express capability; `control`, what can be written in Device Control beside what every function has.
void add_pcie(ConfigSpace& config, const PcieSpec& pcie, u32 device_cap, u16 control);
void add_extended(ConfigSpace& config, const ExtendedCapabilitySpec& cap);
void add_pm(ConfigSpace& config, const PmSpec& pm);

}  // namespace iommufd::pci

// SPDX-License-Identifier: BSD-3-Clause
// The configuration space of a function as its hardware answers: registers of 1, 2 and 4 bytes, and where the capabilities are.
// ConfigSpace simulates one; host::ConfigFile is that of a real function. What a VFIO client sees of it is VirtualConfig's matter.
// Not thread-safe: whoever has it locks around it.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "base/types.hpp"
#include "pci/interrupts.hpp"

namespace iommufd::pci {

enum class PowerState : u8 { kD0, kD3hot };

class HardwareConfig {
 public:
  // A capability in one of the lists: [start, start + length).
  struct Capability {
    u16 id = 0;
    u32 start = 0;
    u32 length = 0;
  };

  virtual ~HardwareConfig() = default;
  HardwareConfig(const HardwareConfig&) = default;
  HardwareConfig(HardwareConfig&&) = default;
  HardwareConfig& operator=(const HardwareConfig&) = default;
  HardwareConfig& operator=(HardwareConfig&&) = default;

  // 256, or 4096 with PCI Express.
  [[nodiscard]] virtual u32 size() const = 0;
  // `width` is 1, 2 or 4, `offset` aligned to it and inside the space.
  [[nodiscard]] virtual u32 read(u32 offset, u32 width) const = 0;
  virtual void write(u32 offset, u32 width, u32 value) = 0;
  [[nodiscard]] virtual std::vector<u8> bytes() const = 0;
  // Puts back what bytes() gave.
  virtual void restore(std::span<const u8> saved) = 0;
  virtual void set_power(PowerState state) = 0;

  // Of a simulated function, whose registers somebody has to keep up: Interrupt Status follows the line; pending bits.
  virtual void show_line(Level /*level*/) {}
  virtual void show(u32 /*offset*/, u32 /*width*/, u32 /*value*/) {}
  // All registers as they are after a reset; real hardware has done that itself.
  virtual void reset() {}
  // Was a function reset asked for by a write since the last call, that nobody has done yet?
  virtual bool take_reset_request() { return false; }

  [[nodiscard]] u16 command() const;
  [[nodiscard]] PowerState power() const;
  // Start of a capability of the first list.
  [[nodiscard]] std::optional<u32> find(u8 id) const;
  // In the order of their lists.
  [[nodiscard]] const std::vector<Capability>& capabilities() const { return capabilities_; }
  [[nodiscard]] const std::vector<Capability>& extended() const { return extended_; }

 protected:
  HardwareConfig() = default;
  std::vector<Capability> capabilities_;
  std::vector<Capability> extended_;
};

// A write of any size and place, in aligned accesses of 4, 2 and 1 bytes. Pre: inside the space.
void write_hardware(HardwareConfig& config, u32 offset, std::span<const std::byte> in);

}  // namespace iommufd::pci

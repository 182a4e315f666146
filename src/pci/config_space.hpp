// SPDX-License-Identifier: BSD-3-Clause
// The configuration space of a function as its hardware holds it: bytes, and which of their bits a write can change.
// What a VFIO client sees of it is VirtualConfig's matter. Not thread-safe: pci::Function locks around it.
#pragma once

#include <optional>
#include <vector>

#include "base/types.hpp"
#include "pci/function_spec.hpp"
#include "pci/interrupts.hpp"

namespace iommufd::pci {

class ConfigSpace {
 public:
  // A capability in the list: [start, start + length).
  struct Capability {
    u8 id = 0;
    u32 start = 0;
    u32 length = 0;
  };

  ConfigSpace(const FunctionSpec& spec, const Placement& placement);

  [[nodiscard]] u32 size() const { return static_cast<u32>(bytes_.size()); }
  // `width` is 1, 2 or 4, `offset` aligned to it and inside the space.
  [[nodiscard]] u32 read(u32 offset, u32 width) const;
  // Changes the writable bits only.
  void write(u32 offset, u32 width, u32 value);

  [[nodiscard]] u16 command() const { return static_cast<u16>(read(0x04, 2)); }
  // Start of the MSI capability.
  [[nodiscard]] std::optional<u32> msi() const;
  [[nodiscard]] const std::vector<Capability>& capabilities() const { return capabilities_; }
  [[nodiscard]] const std::vector<u8>& bytes() const { return bytes_; }

  // The Interrupt Status bit follows the line.
  void set_line(Level level);
  // Puts back what `saved` held (all bytes, read-only ones too). Pre: a copy of this space.
  void restore(const ConfigSpace& saved) { bytes_ = saved.bytes_; }

 private:
  void put(u32 offset, u32 width, u32 value, u32 writable);
  void add_bars(const FunctionSpec& spec, const Placement& placement);
  void add_msi(const MsiSpec& msi);
  // Links a capability of 2 + `body` bytes at the next dword; returns its start.
  u32 link(u8 id, u32 body);

  std::vector<u8> bytes_;
  std::vector<u8> writable_;  // mask per byte
  std::vector<Capability> capabilities_;
};

}  // namespace iommufd::pci

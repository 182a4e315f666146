// SPDX-License-Identifier: BSD-3-Clause
// What vfio-pci lets a client see and change of a configuration space (spec vfio-device 10). Per byte there is a mask of
// virtual bits, whose reads come from a shadow, and a mask of writable bits: virtual writable bits change the shadow
// only, other writable bits go to the hardware, all others are ignored. Space that belongs to no capability is raw
// hardware. Capabilities without a rule here are taken out of the list, which makes their bytes such raw space.
//
// Built from the hardware at the first open of a device and dropped at its close. Not thread-safe: Function locks.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "base/types.hpp"
#include "pci/config_space.hpp"

namespace iommufd::pci {

class VirtualConfig {
 public:
  VirtualConfig(const ConfigSpace& hw, const FunctionSpec& spec);

  // The caller has checked that [offset, offset + size) is inside the space. Accesses are split at dwords and at the
  // borders of capabilities into aligned ones of 4, 2 or 1 bytes.
  void read(const ConfigSpace& hw, u32 offset, std::span<std::byte> out) const;
  void write(ConfigSpace& hw, u32 offset, std::span<const std::byte> in);

  // The INTx Disable bit as the client sees it.
  [[nodiscard]] Intx intx() const;
  // SET_IRQS has set MSI up for 2^vectors_lg2 vectors (nothing: has not). Limits what a write to the MSI flags can do.
  void set_msi(std::optional<unsigned> vectors_lg2) { msi_vectors_lg2_ = vectors_lg2; }

 private:
  void rule(u32 offset, u32 width, u32 is_virtual, u32 writable);
  void add_header_rules();
  bool add_capability_rules(const ConfigSpace::Capability& cap);
  [[nodiscard]] u32 chunk(u32 offset, std::size_t left) const;
  [[nodiscard]] u32 read_one(const ConfigSpace& hw, u32 offset, u32 width) const;
  void write_one(ConfigSpace& hw, u32 offset, u32 width, u32 value);
  void fix_bars();
  void fix_msi_flags(ConfigSpace& hw);
  [[nodiscard]] u32 shadow(u32 offset, u32 width) const;
  void set_shadow(u32 offset, u32 width, u32 value);

  std::array<BarSpec, kBarCount> bars_;
  std::optional<u32> msi_;
  std::optional<unsigned> msi_vectors_lg2_;
  std::vector<u8> shadow_;
  std::vector<u8> virtual_;
  std::vector<u8> writable_;
  std::vector<u32> owner_;  // start of the capability that a byte belongs to, 0 for the header, kRaw for none
};

}  // namespace iommufd::pci

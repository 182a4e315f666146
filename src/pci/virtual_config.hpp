// SPDX-License-Identifier: BSD-3-Clause
// What vfio-pci lets a client see and change of a configuration space (spec vfio-device 10). Per byte there is a mask of
// virtual bits, whose reads come from a shadow, and a mask of writable bits: virtual writable bits change the shadow
// only, other writable bits go to the hardware, all others are ignored. Space that belongs to no capability is raw
// hardware. Capabilities without a rule here are taken out of their list, which makes their bytes such raw space. What a write
// starts (a function reset, another power state) is the caller's to do.
//
// Built from the hardware at the first open of a device and dropped at its close. Not thread-safe: Function locks.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "base/types.hpp"
#include "pci/function_spec.hpp"
#include "pci/hardware_config.hpp"

namespace iommufd::pci {

// What a write asks for beside new values.
struct ConfigEffects {
  bool reset = false;
  std::optional<PowerState> power;
};

class VirtualConfig {
 public:
  VirtualConfig(const HardwareConfig& hw, const FunctionSpec& spec);

  // The caller has checked that [offset, offset + size) is inside the space. Accesses are split at dwords and at the
  // borders of capabilities into aligned ones of 4, 2 or 1 bytes.
  void read(const HardwareConfig& hw, u32 offset, std::span<std::byte> out) const;
  ConfigEffects write(HardwareConfig& hw, u32 offset, std::span<const std::byte> in);

  // The INTx Disable bit as the client sees it.
  [[nodiscard]] Intx intx() const;
  // SET_IRQS has set MSI up for 2^vectors_lg2 vectors (nothing: has not). Limits what a write to the MSI flags can do.
  void set_msi(std::optional<unsigned> vectors_lg2) { msi_vectors_lg2_ = vectors_lg2; }

 private:
  void rule(u32 offset, u32 width, u32 is_virtual, u32 writable);
  void add_header_rules();
  void add_capabilities(const HardwareConfig& hw);
  void add_extended_capabilities(const HardwareConfig& hw);
  // False: a capability that clients must not see.
  bool add_capability_rules(const HardwareConfig::Capability& cap);
  bool add_extended_rules(const HardwareConfig::Capability& cap);
  void add_msi_rules(u32 start);
  void add_pm_rules(u32 start);
  void add_pcie_rules(const HardwareConfig::Capability& cap);
  void add_af_rules(u32 start);
  [[nodiscard]] u32 chunk(u32 offset, std::size_t left) const;
  [[nodiscard]] u32 read_one(const HardwareConfig& hw, u32 offset, u32 width) const;
  void write_one(HardwareConfig& hw, u32 offset, u32 width, u32 value, ConfigEffects& effects);
  void fix_bars();
  void fix_msi_flags(HardwareConfig& hw);
  void fix_pcie_control(HardwareConfig& hw, u32 before, ConfigEffects& effects);
  [[nodiscard]] u32 shadow(u32 offset, u32 width) const;
  void set_shadow(u32 offset, u32 width, u32 value);

  std::array<BarSpec, kBarCount> bars_;
  const u64 rom_size_;
  std::optional<u32> msi_, pm_, pcie_, af_;  // where they begin
  std::optional<unsigned> msi_vectors_lg2_;
  std::vector<u8> shadow_;
  std::vector<u8> virtual_;
  std::vector<u8> writable_;
  std::vector<u32> owner_;  // start of the capability that a byte belongs to, 0 for the header, kRaw for none
};

}  // namespace iommufd::pci

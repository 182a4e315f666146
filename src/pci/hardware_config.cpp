// SPDX-License-Identifier: BSD-3-Clause
#include "pci/hardware_config.hpp"

#include <cstddef>

#include "pci/config_registers.hpp"

namespace iommufd::pci {

std::optional<u32> HardwareConfig::find(u8 id) const {
  for (const Capability& cap : capabilities_) {
    if (cap.id == id) return cap.start;
  }
  return std::nullopt;
}

u16 HardwareConfig::command() const { return static_cast<u16>(read(reg::kCommand, 2)); }

PowerState HardwareConfig::power() const {
  const auto pm = find(reg::kCapPm);
  const bool off = pm && (read(*pm + reg::kPmControl, 2) & reg::kPmState) == reg::kPmD3hot;
  return off ? PowerState::kD3hot : PowerState::kD0;
}

void write_hardware(HardwareConfig& config, u32 offset, std::span<const std::byte> in) {
  while (!in.empty()) {
    u32 width = 4;
    while (offset % width != 0 || in.size() < width) width /= 2;
    u32 value = 0;
    for (u32 i = 0; i < width; ++i) value |= std::to_integer<u32>(in[i]) << (8 * i);
    config.write(offset, width, value);
    offset += width;
    in = in.subspan(width);
  }
}

}  // namespace iommufd::pci

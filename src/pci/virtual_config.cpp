// SPDX-License-Identifier: BSD-3-Clause
#include "pci/virtual_config.hpp"

#include <algorithm>

#include "pci/config_registers.hpp"

namespace iommufd::pci {
namespace {

constexpr u32 kRaw = ~u32{0};
constexpr u32 kAll = ~u32{0};
constexpr u32 kNone = 0;

// Does a write of `width` bytes at `offset` touch a register?
bool touches(u32 offset, u32 width, u32 start, u32 size) { return offset < start + size && offset + width > start; }

}  // namespace

VirtualConfig::VirtualConfig(const HardwareConfig& hw, const FunctionSpec& spec)
    : bars_(spec.bars),
      rom_size_(rom_bar_size(spec)),
      shadow_(hw.bytes()),
      virtual_(hw.size(), 0x00),
      writable_(hw.size(), 0xff),
      owner_(hw.size(), kRaw) {
  add_header_rules();
  add_capabilities(hw);
  if (hw.size() > reg::kConfigSize) add_extended_capabilities(hw);
  fix_bars();
}

void VirtualConfig::rule(u32 offset, u32 width, u32 is_virtual, u32 writable) {
  for (u32 i = 0; i < width; ++i) {
    virtual_[offset + i] = static_cast<u8>(is_virtual >> (8 * i));
    writable_[offset + i] = static_cast<u8>(writable >> (8 * i));
  }
}

// The rows of the table in spec vfio-device 10, down to the interrupt pin.
void VirtualConfig::add_header_rules() {
  std::fill_n(owner_.begin(), reg::kHeaderSize, 0);
  for (u32 i = 0; i < reg::kHeaderSize; i += 4) rule(i, 4, kNone, kNone);
  rule(reg::kVendor, 2, kAll, kNone);
  rule(reg::kDevice, 2, kAll, kNone);
  rule(reg::kCommand, 2, reg::kCommandIntxDisable, kAll);
  // Cleared at the open (section 5).
  set_shadow(reg::kCommand, 2, shadow(reg::kCommand, 2) & ~u32{reg::kCommandIntxDisable});
  rule(reg::kStatus, 2, reg::kStatusCapList, kNone);
  rule(reg::kCacheLine, 1, kNone, kAll);
  rule(reg::kLatency, 1, kNone, kAll);
  rule(reg::kBist, 1, kNone, kAll);
  for (u32 i = 0; i < kBarCount; ++i) rule(reg::kBar0 + 4 * i, 4, kAll, kAll);
  rule(reg::kRom, 4, kAll, kAll);
  rule(reg::kCapPointer, 1, kAll, kNone);
  rule(reg::kInterruptLine, 1, kAll, kAll);
  rule(reg::kInterruptPin, 1, kAll, kNone);
}

// Size of the next access: aligned, inside one dword, inside one owner.
u32 VirtualConfig::chunk(u32 offset, std::size_t left) const {
  for (u32 width = 4; width > 1; width /= 2) {
    if (offset % width != 0 || left < width) continue;
    const auto first = owner_.begin() + offset;
    if (std::all_of(first, first + width, [&](u32 owner) { return owner == *first; })) return width;
  }
  return 1;
}

void VirtualConfig::read(const HardwareConfig& hw, u32 offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const u32 width = chunk(offset, out.size());
    const u32 value = read_one(hw, offset, width);
    for (u32 i = 0; i < width; ++i) out[i] = static_cast<std::byte>(value >> (8 * i));
    out = out.subspan(width);
    offset += width;
  }
}

ConfigEffects VirtualConfig::write(HardwareConfig& hw, u32 offset, std::span<const std::byte> in) {
  ConfigEffects effects;
  while (!in.empty()) {
    const u32 width = chunk(offset, in.size());
    u32 value = 0;
    for (u32 i = 0; i < width; ++i) value |= std::to_integer<u32>(in[i]) << (8 * i);
    write_one(hw, offset, width, value, effects);
    in = in.subspan(width);
    offset += width;
  }
  return effects;
}

u32 VirtualConfig::read_one(const HardwareConfig& hw, u32 offset, u32 width) const {
  u32 mask = 0;
  for (u32 i = 0; i < width; ++i) mask |= u32{virtual_[offset + i]} << (8 * i);
  return (hw.read(offset, width) & ~mask) | (shadow(offset, width) & mask);
}

void VirtualConfig::write_one(HardwareConfig& hw, u32 offset, u32 width, u32 value, ConfigEffects& effects) {
  u32 is_virtual = 0;
  u32 writable = 0;
  for (u32 i = 0; i < width; ++i) {
    is_virtual |= u32{virtual_[offset + i]} << (8 * i);
    writable |= u32{writable_[offset + i]} << (8 * i);
  }
  const u32 to_shadow = writable & is_virtual;
  const u32 to_hardware = writable & ~is_virtual;
  const u32 pcie_control = pcie_ ? shadow(*pcie_ + reg::kPcieDeviceControl, 2) : 0;
  set_shadow(offset, width, (shadow(offset, width) & ~to_shadow) | (value & to_shadow));
  if (to_hardware != 0) hw.write(offset, width, (hw.read(offset, width) & ~to_hardware) | (value & to_hardware));

  const auto in = [&](const std::optional<u32>& cap, u32 reg, u32 size) {
    return cap && touches(offset, width, *cap + reg, size);
  };
  if (touches(offset, width, reg::kBar0, reg::kCis - reg::kBar0) || touches(offset, width, reg::kRom, 4)) fix_bars();
  if (in(msi_, reg::kMsiFlags, 1)) fix_msi_flags(hw);
  if (in(pcie_, reg::kPcieDeviceControl, 2)) fix_pcie_control(hw, pcie_control, effects);
  if (in(pm_, reg::kPmControl, 1)) {
    const u32 state = value >> (8 * (*pm_ + reg::kPmControl - offset)) & reg::kPmState;
    if (state == reg::kPmD0) effects.power = PowerState::kD0;
    if (state == reg::kPmD3hot) effects.power = PowerState::kD3hot;
  }
  if (in(af_, reg::kAfControl, 1)) {
    const u32 control = shadow(*af_ + reg::kAfControl, 1);
    effects.reset |= (control & reg::kAfControlFlr) != 0 && (hw.read(*af_ + reg::kAfCap, 1) & reg::kAfFlr) != 0;
    set_shadow(*af_ + reg::kAfControl, 1, control & ~u32{reg::kAfControlFlr});
  }
}

// Address bits below the size read 0, flag bits stay; a BAR that does not exist reads 0.
void VirtualConfig::fix_bars() {
  for (u32 i = 0; i < kBarCount; ++i) {
    const BarSpec& bar = bars_[i];
    const u32 slot = reg::kBar0 + 4 * i;
    const bool upper_half = i > 0 && bars_[i - 1].kind == BarKind::kMemory64;
    const u64 size = upper_half ? bars_[i - 1].size : bar.size;
    const u64 address_bits = ~(size - 1);
    u32 flags = 0;
    u32 mask = static_cast<u32>(address_bits);
    switch (bar.kind) {
      case BarKind::kNone: mask = upper_half ? static_cast<u32>(address_bits >> 32) : 0; break;
      case BarKind::kIo: flags = reg::kBarIo; break;
      case BarKind::kMemory64: flags = reg::kBarMemory64; [[fallthrough]];
      case BarKind::kMemory32: flags |= bar.prefetch == Prefetch::kYes ? reg::kBarPrefetch : 0; break;
    }
    set_shadow(slot, 4, (shadow(slot, 4) & mask) | flags);
  }
  const u32 rom_bits = rom_size_ != 0 ? ~static_cast<u32>(rom_size_ - 1) | reg::kRomEnable : 0;
  set_shadow(reg::kRom, 4, shadow(reg::kRom, 4) & rom_bits);
}

// MSI is set up by SET_IRQS, not here: Enable sticks only then, and no more vectors than were set up.
void VirtualConfig::fix_msi_flags(HardwareConfig& hw) {
  const u32 at = *msi_ + reg::kMsiFlags;
  u32 flags = shadow(at, 2);
  if (!msi_vectors_lg2_) flags &= ~u32{reg::kMsiEnable};
  const u32 limit = msi_vectors_lg2_.value_or(0);
  if ((flags & reg::kMsiEnabledMask) >> reg::kMsiEnabledShift > limit) {
    flags = (flags & ~u32{reg::kMsiEnabledMask}) | limit << reg::kMsiEnabledShift;
  }
  set_shadow(at, 2, flags);
  hw.write(at, 2, flags);
}

// The function reset bit starts one and reads 0. Read requests are as the client says, but no smaller than the payload that
// the function has; the payload that the client sets is nobody's.
void VirtualConfig::fix_pcie_control(HardwareConfig& hw, u32 before, ConfigEffects& effects) {
  const u32 at = *pcie_ + reg::kPcieDeviceControl;
  const u32 control = shadow(at, 2);
  if ((control & reg::kPcieControlFlr) != 0) {
    set_shadow(at, 2, control & ~u32{reg::kPcieControlFlr});
    effects.reset |= (hw.read(*pcie_ + reg::kPcieDeviceCap, 4) & reg::kPcieFlr) != 0;
  }
  if (((control ^ before) & reg::kPcieControlReadRequest) == 0) return;
  const u32 held = hw.read(at, 2);
  const u32 payload = (held & reg::kPcieControlPayload) >> reg::kPcieControlPayloadShift;
  const u32 asked = (control & reg::kPcieControlReadRequest) >> reg::kPcieControlReadRequestShift;
  const u32 request = std::max(asked, payload) << reg::kPcieControlReadRequestShift;
  hw.write(at, 2, (held & ~u32{reg::kPcieControlReadRequest}) | request);
}

Intx VirtualConfig::intx() const {
  return (shadow(reg::kCommand, 2) & reg::kCommandIntxDisable) != 0 ? Intx::kDisabled : Intx::kEnabled;
}

u32 VirtualConfig::shadow(u32 offset, u32 width) const {
  u32 value = 0;
  for (u32 i = 0; i < width; ++i) value |= u32{shadow_[offset + i]} << (8 * i);
  return value;
}

void VirtualConfig::set_shadow(u32 offset, u32 width, u32 value) {
  for (u32 i = 0; i < width; ++i) shadow_[offset + i] = static_cast<u8>(value >> (8 * i));
}

}  // namespace iommufd::pci

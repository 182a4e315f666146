// SPDX-License-Identifier: BSD-3-Clause
#include "pci/config_space.hpp"

#include "base/assert.hpp"
#include "pci/config_registers.hpp"

namespace iommufd::pci {

ConfigSpace::ConfigSpace(const FunctionSpec& spec, const Placement& placement)
    : bytes_(reg::kConfigSize), writable_(reg::kConfigSize) {
  bool io = false;
  for (const BarSpec& bar : spec.bars) io |= bar.kind == BarKind::kIo;
  const u16 decode = reg::kCommandMemory | (io ? reg::kCommandIo : u16{0});
  const u16 command_bits = decode | reg::kCommandMaster | reg::kCommandIntxDisable;

  put(reg::kVendor, 2, spec.vendor, 0);
  put(reg::kDevice, 2, spec.device, 0);
  put(reg::kCommand, 2, decode, command_bits);  // firmware has placed the BARs and switched decoding on
  put(reg::kRevision, 1, spec.revision, 0);
  put(reg::kClass, 1, spec.class_code & 0xff, 0);
  put(reg::kClass + 1, 2, spec.class_code >> 8 & 0xffff, 0);
  put(reg::kCacheLine, 1, 0, 0xff);
  put(reg::kSubsystemVendor, 2, spec.subsystem_vendor, 0);
  put(reg::kSubsystem, 2, spec.subsystem_device, 0);
  put(reg::kInterruptLine, 1, placement.irq & 0xff, 0xff);
  put(reg::kInterruptPin, 1, spec.interrupt_pin, 0);
  add_bars(spec, placement);
  if (spec.msi) add_msi(*spec.msi);
  for (const CapabilitySpec& cap : spec.capabilities) {
    const u32 body = link(cap.id, static_cast<u32>(cap.bytes.size())) + 2;
    for (u32 i = 0; i < cap.bytes.size(); ++i) {
      put(body + i, 1, cap.bytes[i], i < cap.writable.size() ? cap.writable[i] : 0);
    }
  }
}

u32 ConfigSpace::read(u32 offset, u32 width) const {
  IOMMUFD_ASSERT(offset % width == 0 && offset + width <= bytes_.size());
  u32 value = 0;
  for (u32 i = 0; i < width; ++i) value |= u32{bytes_[offset + i]} << (8 * i);
  return value;
}

void ConfigSpace::write(u32 offset, u32 width, u32 value) {
  IOMMUFD_ASSERT(offset % width == 0 && offset + width <= bytes_.size());
  for (u32 i = 0; i < width; ++i) {
    const u8 mask = writable_[offset + i];
    bytes_[offset + i] = static_cast<u8>((bytes_[offset + i] & ~mask) | ((value >> (8 * i)) & mask));
  }
}

std::optional<u32> ConfigSpace::msi() const {
  for (const Capability& cap : capabilities_) {
    if (cap.id == reg::kCapMsi) return cap.start;
  }
  return std::nullopt;
}

void ConfigSpace::set_line(Level level) {
  const u8 rest = bytes_[reg::kStatus] & static_cast<u8>(~reg::kStatusInterrupt);
  bytes_[reg::kStatus] = static_cast<u8>(rest | (level == Level::kHigh ? reg::kStatusInterrupt : 0));
}

void ConfigSpace::put(u32 offset, u32 width, u32 value, u32 writable) {
  for (u32 i = 0; i < width; ++i) {
    bytes_[offset + i] = static_cast<u8>(value >> (8 * i));
    writable_[offset + i] = static_cast<u8>(writable >> (8 * i));
  }
}

void ConfigSpace::add_bars(const FunctionSpec& spec, const Placement& placement) {
  for (u32 i = 0; i < kBarCount; ++i) {
    const BarSpec& bar = spec.bars[i];
    if (bar.kind == BarKind::kNone) continue;
    const u32 slot = reg::kBar0 + 4 * i;
    const u64 base = placement.bar_base[i];
    const u64 address_bits = ~(bar.size - 1);
    const u32 prefetch = bar.prefetch == Prefetch::kYes ? reg::kBarPrefetch : 0;
    if (bar.kind == BarKind::kIo) {
      put(slot, 4, static_cast<u32>(base) | reg::kBarIo, static_cast<u32>(address_bits));
    } else if (bar.kind == BarKind::kMemory32) {
      put(slot, 4, static_cast<u32>(base) | prefetch, static_cast<u32>(address_bits));
    } else {
      IOMMUFD_ASSERT(i + 1 < kBarCount && spec.bars[i + 1].kind == BarKind::kNone);
      put(slot, 4, static_cast<u32>(base) | prefetch | reg::kBarMemory64, static_cast<u32>(address_bits));
      put(slot + 4, 4, static_cast<u32>(base >> 32), static_cast<u32>(address_bits >> 32));
    }
  }
}

void ConfigSpace::add_msi(const MsiSpec& msi) {
  const u32 start = link(reg::kCapMsi, reg::kMsiSize64 - 2);
  put(start + reg::kMsiFlags, 2, reg::kMsi64 | msi.vectors_lg2 << reg::kMsiCapableShift,
      reg::kMsiEnable | reg::kMsiEnabledMask);
  put(start + reg::kMsiAddressLow, 4, 0, ~u32{3});
  put(start + reg::kMsiAddressHigh, 4, 0, ~u32{0});
  put(start + reg::kMsiData64, 2, 0, 0xffff);
}

u32 ConfigSpace::link(u8 id, u32 body) {
  const u32 start =
      capabilities_.empty() ? reg::kCapStart : (capabilities_.back().start + capabilities_.back().length + 3) & ~u32{3};
  IOMMUFD_ASSERT(start + 2 + body <= bytes_.size());
  put(capabilities_.empty() ? reg::kCapPointer : capabilities_.back().start + 1, 1, start, 0);
  put(reg::kStatus, 2, reg::kStatusCapList, 0);
  put(start, 1, id, 0);
  capabilities_.push_back({id, start, 2 + body});
  return start;
}

}  // namespace iommufd::pci

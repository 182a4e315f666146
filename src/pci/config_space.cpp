// SPDX-License-Identifier: BSD-3-Clause
#include "pci/config_space.hpp"

#include <cstddef>

#include "base/assert.hpp"
#include "pci/config_registers.hpp"

namespace iommufd::pci {
namespace {

u32 behind_last(const std::vector<HardwareConfig::Capability>& list, u32 first) {
  return list.empty() ? first : (list.back().start + list.back().length + 3) & ~u32{3};
}

}  // namespace

u32 ConfigSpace::read(u32 offset, u32 width) const {
  IOMMUFD_ASSERT(offset % width == 0 && offset + width <= bytes_.size());
  u32 value = 0;
  for (u32 i = 0; i < width; ++i) value |= u32{bytes_[offset + i]} << (8 * i);
  return value;
}

void ConfigSpace::write(u32 offset, u32 width, u32 value) {
  IOMMUFD_ASSERT(offset % width == 0 && offset + width <= bytes_.size());
  const auto pm = find(reg::kCapPm);
  const u32 state = pm ? read(*pm + reg::kPmControl, 1) : 0;
  for (u32 i = 0; i < width; ++i) {
    const u8 byte = static_cast<u8>(value >> (8 * i));
    const u8 mask = writable_[offset + i];
    const u8 kept = bytes_[offset + i] & static_cast<u8>(~(mask | (clearing_[offset + i] & byte)));
    bytes_[offset + i] = static_cast<u8>(kept | (byte & mask));
  }
  if (pm) {
    const u32 now = read(*pm + reg::kPmControl, 1) & reg::kPmState;
    if (now != reg::kPmD0 && now != reg::kPmD3hot) show(*pm + reg::kPmControl, 1, state);
  }
  if (const auto pcie = find(reg::kCapPcie)) absorb_reset_bit(*pcie + reg::kPcieDeviceControl, 2, reg::kPcieControlFlr);
  if (const auto af = find(reg::kCapAf)) absorb_reset_bit(*af + reg::kAfControl, 1, reg::kAfControlFlr);
}

void ConfigSpace::show(u32 offset, u32 width, u32 value) {
  for (u32 i = 0; i < width; ++i) bytes_[offset + i] = static_cast<u8>(value >> (8 * i));
}

void ConfigSpace::absorb_reset_bit(u32 offset, u32 width, u32 bit) {
  const u32 value = read(offset, width);
  if ((value & bit) == 0) return;
  reset_requested_ = true;
  show(offset, width, value & ~bit);
}

void ConfigSpace::set_power(PowerState state) {
  const auto pm = find(reg::kCapPm);
  if (!pm) return;
  const u32 rest = read(*pm + reg::kPmControl, 2) & ~u32{reg::kPmState};
  show(*pm + reg::kPmControl, 2, rest | (state == PowerState::kD3hot ? reg::kPmD3hot : reg::kPmD0));
}

void ConfigSpace::show_line(Level level) {
  const u8 rest = bytes_[reg::kStatus] & static_cast<u8>(~reg::kStatusInterrupt);
  bytes_[reg::kStatus] = static_cast<u8>(rest | (level == Level::kHigh ? reg::kStatusInterrupt : 0));
}

void ConfigSpace::restore(std::span<const u8> saved) {
  IOMMUFD_ASSERT(saved.size() == bytes_.size());
  bytes_.assign(saved.begin(), saved.end());
}

void ConfigSpace::put(u32 offset, u32 width, u32 value, Masks masks) {
  IOMMUFD_ASSERT(offset + width <= bytes_.size());
  for (u32 i = 0; i < width; ++i) {
    bytes_[offset + i] = initial_[offset + i] = static_cast<u8>(value >> (8 * i));
    writable_[offset + i] = static_cast<u8>(masks.writable >> (8 * i));
    clearing_[offset + i] = static_cast<u8>(masks.clearing >> (8 * i));
  }
}

u32 ConfigSpace::link(u8 id, u32 length, u32 at) {
  const u32 start = at != 0 ? at : behind_last(capabilities_, reg::kCapStart);
  IOMMUFD_ASSERT(start + length <= reg::kConfigSize);
  put(capabilities_.empty() ? reg::kCapPointer : capabilities_.back().start + 1, 1, start);
  put(reg::kStatus, 2, reg::kStatusCapList);
  put(start, 1, id);
  capabilities_.push_back({id, start, length});
  return start;
}

u32 ConfigSpace::link_extended(u16 id, u8 version, u32 length, u32 at) {
  const u32 start = at != 0 ? at : behind_last(extended_, reg::kExtendedStart);
  IOMMUFD_ASSERT(start + length <= bytes_.size() && (extended_.empty() == (start == reg::kExtendedStart)));
  if (!extended_.empty()) {
    const u32 last = extended_.back().start;
    put(last, 4, read(last, 4) | start << 20);
  }
  put(start, 4, u32{id} | u32{version} << 16);
  extended_.push_back({id, start, length});
  return start;
}

}  // namespace iommufd::pci

// SPDX-License-Identifier: BSD-3-Clause
// Which capabilities a VFIO client sees, and what it may change in them: the rows of the table in spec vfio-device 10 from the PM
// capability on.
#include <algorithm>
#include <array>

#include "pci/config_registers.hpp"
#include "pci/virtual_config.hpp"

namespace iommufd::pci {
namespace {

constexpr u32 kAll = ~u32{0};
constexpr u32 kNone = 0;

constexpr u8 kCapAgp = 0x02, kCapPcix = 0x07, kCapHyperTransport = 0x08, kCapSata = 0x12;
constexpr std::array<u16, 4> kReadOnly{kCapAgp, kCapHyperTransport, kCapSata, reg::kCapMsix};

constexpr std::array<u16, 14> kExtendedReadOnly{reg::kExtVirtualChannel,
                                                reg::kExtSerialNumber,
                                                reg::kExtMultiFunctionVc,
                                                reg::kExtVirtualChannel9,
                                                reg::kExtAcs,
                                                reg::kExtAri,
                                                reg::kExtAts,
                                                reg::kExtSriov,
                                                reg::kExtMulticast,
                                                reg::kExtPri,
                                                reg::kExtRebar,
                                                reg::kExtDpa,
                                                reg::kExtTph,
                                                reg::kExtLtr};

bool has(const auto& ids, u16 id) { return std::ranges::find(ids, id) != ids.end(); }

}  // namespace

void VirtualConfig::add_capabilities(const HardwareConfig& hw) {
  u32 pointer = reg::kCapPointer;
  shadow_[pointer] = 0;
  for (const HardwareConfig::Capability& cap : hw.capabilities()) {
    if (!add_capability_rules(cap)) continue;  // hidden: nobody points at it
    std::fill_n(owner_.begin() + cap.start, cap.length, cap.start);
    rule(cap.start + 1, 1, kAll, kNone);
    shadow_[pointer] = static_cast<u8>(cap.start);
    pointer = cap.start + 1;
    shadow_[pointer] = 0;
  }
}

// The list begins at a fixed place: a hidden capability there keeps its pointer and loses its name.
void VirtualConfig::add_extended_capabilities(const HardwareConfig& hw) {
  constexpr u32 kNext = u32{0xffc} << 20;
  u32 pointer = reg::kExtendedStart;
  rule(pointer, reg::kExtHeader, kAll, kNone);
  set_shadow(pointer, reg::kExtHeader, 0);
  for (const HardwareConfig::Capability& cap : hw.extended()) {
    if (!add_extended_rules(cap)) continue;
    std::fill_n(owner_.begin() + cap.start, cap.length, cap.start);
    if (cap.start != reg::kExtendedStart) set_shadow(pointer, 4, (shadow(pointer, 4) & ~kNext) | cap.start << 20);
    pointer = cap.start;
    rule(pointer, reg::kExtHeader, kAll, kNone);
    set_shadow(pointer, reg::kExtHeader, hw.read(pointer, 4) & ~kNext);
  }
}

bool VirtualConfig::add_capability_rules(const HardwareConfig::Capability& cap) {
  if (cap.id == reg::kCapVendorSpecific) {
    rule(cap.start, 1, kNone, kNone);  // the rest is the device's own: raw
    return true;
  }
  const bool known = has(kReadOnly, cap.id) || cap.id == reg::kCapPm || cap.id == reg::kCapMsi || cap.id == kCapPcix ||
                     cap.id == reg::kCapPcie || cap.id == reg::kCapAf;
  if (!known) return false;
  for (u32 i = 0; i < cap.length; ++i) rule(cap.start + i, 1, kNone, kNone);
  if (cap.id == reg::kCapPm) add_pm_rules(cap.start);
  if (cap.id == reg::kCapMsi) add_msi_rules(cap.start);
  if (cap.id == kCapPcix) rule(cap.start + 2, 2, kNone, kAll);
  if (cap.id == reg::kCapPcie) add_pcie_rules(cap);
  if (cap.id == reg::kCapAf) add_af_rules(cap.start);
  return true;
}

void VirtualConfig::add_msi_rules(u32 start) {
  msi_ = start;
  const u32 flags = shadow(start + reg::kMsiFlags, 2);
  rule(start + reg::kMsiFlags, 1, kAll, kAll);  // the upper byte is reserved
  rule(start + reg::kMsiAddressLow, 4, kAll, kAll);
  if ((flags & reg::kMsi64) != 0) rule(start + reg::kMsiAddressHigh, 4, kAll, kAll);
  rule(start + reg::msi_data(flags), 2, kAll, kAll);
  if ((flags & reg::kMsiMaskable) != 0) rule(start + reg::msi_mask(flags), 4, kNone, kAll);
}

// The state is set by the caller; wake-up events do not exist for a client.
void VirtualConfig::add_pm_rules(u32 start) {
  constexpr u32 kPme = reg::kPmPmeEnable | reg::kPmPmeStatus;
  pm_ = start;
  rule(start + reg::kPmCapabilities, 2, reg::kPmPmeSupport, kNone);
  set_shadow(start + reg::kPmCapabilities, 2, 0);
  rule(start + reg::kPmControl, 4, kPme, ~(kPme | reg::kPmState));
  set_shadow(start + reg::kPmControl, 4, 0);
}

void VirtualConfig::add_pcie_rules(const HardwareConfig::Capability& cap) {
  const u32 start = cap.start;
  pcie_ = start;
  rule(start + reg::kPcieDeviceControl, 2,
       reg::kPcieControlPayload | reg::kPcieControlReadRequest | reg::kPcieControlFlr, ~u32{reg::kPcieControlPhantom});
  if (cap.length > reg::kPcieDeviceControl2)  // version 2
    rule(start + reg::kPcieDeviceControl2, 2, kNone, ~u32{reg::kPcieControl2Ari});
}

void VirtualConfig::add_af_rules(u32 start) {
  af_ = start;
  rule(start + reg::kAfControl, 1, reg::kAfControlFlr, reg::kAfControlFlr);
}

bool VirtualConfig::add_extended_rules(const HardwareConfig::Capability& cap) {
  if (cap.id == reg::kExtVendorSpecific || cap.id == reg::kExtDvsec) return true;  // raw
  const bool known = has(kExtendedReadOnly, cap.id) || cap.id == reg::kExtAer || cap.id == reg::kExtPowerBudget;
  if (!known) return false;
  for (u32 i = 0; i < cap.length; ++i) rule(cap.start + i, 1, kNone, kNone);
  if (cap.id == reg::kExtAer) {
    for (const u32 offset : {reg::kAerUncorrectable, reg::kAerUncorrectableMask, reg::kAerUncorrectableSeverity,
                             reg::kAerCorrectable, reg::kAerCorrectableMask})
      rule(cap.start + offset, 4, kNone, kAll);
    rule(cap.start + reg::kAerControl, 4, kNone, 0x140);  // what ECRC is switched on for
  }
  if (cap.id == reg::kExtPowerBudget) rule(cap.start + reg::kPowerBudgetSelect, 1, kNone, kAll);
  return true;
}

}  // namespace iommufd::pci

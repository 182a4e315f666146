// SPDX-License-Identifier: BSD-3-Clause
// A FunctionSpec as the registers of its hardware.
#include <algorithm>
#include <bit>

#include "base/assert.hpp"
#include "pci/config_registers.hpp"
#include "pci/config_space.hpp"

namespace iommufd::pci {
namespace {

using Masks = ConfigSpace::Masks;

constexpr u64 kSmallestRom = 2048;

Masks writable(u32 bits) { return {.writable = bits, .clearing = 0}; }

void add_bar(ConfigSpace& config, u32 slot, const BarSpec& bar, u64 base) {
  const u64 address_bits = ~(bar.size - 1);
  const auto low = static_cast<u32>(address_bits);
  const u32 prefetch = bar.prefetch == Prefetch::kYes ? reg::kBarPrefetch : 0;
  switch (bar.kind) {
    case BarKind::kNone: return;
    case BarKind::kIo: config.put(slot, 4, reg::kBarIo, writable(low)); break;
    case BarKind::kMemory32: config.put(slot, 4, prefetch, writable(low)); break;
    case BarKind::kMemory64:
      config.put(slot, 4, prefetch | reg::kBarMemory64, writable(low));
      config.put(slot + 4, 4, 0, writable(static_cast<u32>(address_bits >> 32)));
      config.write(slot + 4, 4, static_cast<u32>(base >> 32));
      break;
  }
  config.write(slot, 4, static_cast<u32>(base));
}

void add_bars(ConfigSpace& config, const FunctionSpec& spec, const Placement& placement) {
  for (u32 i = 0; i < kBarCount; ++i) {
    const BarSpec& bar = spec.bars[i];
    IOMMUFD_ASSERT(bar.kind != BarKind::kMemory64 || (i + 1 < kBarCount && spec.bars[i + 1].kind == BarKind::kNone));
    add_bar(config, reg::kBar0 + 4 * i, bar, placement.bar_base[i]);
  }
  if (const u64 size = rom_bar_size(spec); size != 0) {
    config.put(reg::kRom, 4, 0, writable(~static_cast<u32>(size - 1) | reg::kRomEnable));
    config.write(reg::kRom, 4, static_cast<u32>(placement.rom_base));
  }
}

void add_msi(ConfigSpace& config, const MsiSpec& msi) {
  const bool maskable = msi.mask == VectorMask::kYes;
  const u32 start = config.link(reg::kCapMsi, maskable ? reg::kMsiSizeMask64 : reg::kMsiSize64, msi.at);
  config.put(start + reg::kMsiFlags, 2,
             reg::kMsi64 | (maskable ? reg::kMsiMaskable : 0) | msi.vectors_lg2 << reg::kMsiCapableShift,
             writable(reg::kMsiEnable | reg::kMsiEnabledMask));
  config.put(start + reg::kMsiAddressLow, 4, 0, writable(~u32{3}));
  config.put(start + reg::kMsiAddressHigh, 4, 0, writable(~u32{0}));
  config.put(start + reg::kMsiData64, 2, 0, writable(0xffff));
  if (maskable) config.put(start + reg::kMsiMask64, 4, 0, writable(~u32{0} >> (32 - (1U << msi.vectors_lg2))));
}

void add_msix(ConfigSpace& config, const FunctionSpec& spec, const MsixSpec& msix) {
  IOMMUFD_ASSERT(msix.vectors >= 1 && msix.vectors <= kMaxMsixVectors);
  IOMMUFD_ASSERT(msix.table_offset % 8 == 0 && msix.pending_offset % 8 == 0);
  IOMMUFD_ASSERT(msix.table_offset + msix.table_size() <= spec.bars[msix.table_bar].size);
  IOMMUFD_ASSERT(msix.pending_offset + msix.pending_size() <= spec.bars[msix.pending_bar].size);
  const u32 start = config.link(reg::kCapMsix, reg::kMsixSize, msix.at);
  config.put(start + reg::kMsixControl, 2, msix.vectors - 1, writable(reg::kMsixEnable | reg::kMsixFunctionMask));
  config.put(start + reg::kMsixTable, 4, static_cast<u32>(msix.table_offset) | msix.table_bar);
  config.put(start + reg::kMsixPending, 4, static_cast<u32>(msix.pending_offset) | msix.pending_bar);
}

u8 at(const std::vector<u8>& bytes, std::size_t i) { return i < bytes.size() ? bytes[i] : u8{0}; }

void add_capability(ConfigSpace& config, const CapabilitySpec& cap) {
  const u32 body = config.link(cap.id, static_cast<u32>(cap.bytes.size()) + 2, cap.at) + 2;
  for (u32 i = 0; i < cap.bytes.size(); ++i) config.put(body + i, 1, cap.bytes[i], writable(at(cap.writable, i)));
}

}  // namespace

void add_pm(ConfigSpace& config, const PmSpec& pm) {
  const u32 start = config.link(reg::kCapPm, reg::kPmSize, pm.at);
  config.put(start + reg::kPmCapabilities, 2, reg::kPmVersion);
  config.put(start + reg::kPmControl, 2, pm.state == StateInD3::kKept ? reg::kPmNoSoftReset : 0,
             writable(reg::kPmState));
}

void add_pcie(ConfigSpace& config, const PcieSpec& pcie, u32 device_cap, u16 control) {
  // Default of Device Control: relaxed ordering, no snoop, read requests of 512 bytes. All reports and these can be switched.
  constexpr u16 kDefault = 0x2810, kSwitches = 0x7fff & ~u16{reg::kPcieControlPhantom};
  constexpr u16 kErrorsSeen = 0x000f;
  const u32 start = config.link(reg::kCapPcie, reg::kPcieSize, pcie.at);
  const u32 link = pcie.link_speed | u32{pcie.link_width} << 4;
  config.put(start + reg::kPcieFlags, 2, 2 | u32{std::to_underlying(pcie.type)} << 4);
  config.put(start + reg::kPcieDeviceCap, 4, pcie.max_payload_lg2 | reg::kPcieRoleBasedErrors | device_cap);
  config.put(start + reg::kPcieDeviceControl, 2, kDefault, writable(kSwitches | control));
  config.put(start + reg::kPcieDeviceStatus, 2, 0, {.writable = 0, .clearing = kErrorsSeen});
  config.put(start + reg::kPcieLinkCap, 4, link);
  config.put(start + reg::kPcieLinkControl, 2, 0, writable(0x00c3));  // ASPM, common clock, extended synch
  config.put(start + reg::kPcieLinkStatus, 2, link);
  config.put(start + reg::kPcieDeviceCap2, 4, 0x11);  // completion timeouts can be switched off, and have range A
  config.put(start + reg::kPcieDeviceControl2, 2, 0, writable(0x1f));
  config.put(start + reg::kPcieLinkCap2, 4, ((1U << pcie.link_speed) - 1) << 1);
  config.put(start + reg::kPcieLinkControl2, 2, pcie.link_speed, writable(0xf));
}

void add_extended(ConfigSpace& config, const ExtendedCapabilitySpec& cap) {
  const u32 body = config.link_extended(cap.id, cap.version, static_cast<u32>(cap.bytes.size()) + 4, cap.at) + 4;
  for (u32 i = 0; i < cap.bytes.size(); ++i)
    config.put(body + i, 1, cap.bytes[i], {.writable = at(cap.writable, i), .clearing = at(cap.clearing, i)});
}

ConfigSpace function_config(const FunctionSpec& spec, const Placement& placement) {
  ConfigSpace config(spec.pcie ? reg::kExtendedConfigSize : reg::kConfigSize);
  const bool io = std::ranges::any_of(spec.bars, [](const BarSpec& bar) { return bar.kind == BarKind::kIo; });
  const u32 decode = reg::kCommandMemory | (io ? u32{reg::kCommandIo} : 0);
  config.put(reg::kVendor, 2, spec.vendor);
  config.put(reg::kDevice, 2, spec.device);
  config.put(reg::kCommand, 2, 0, writable(decode | reg::kCommandMaster | reg::kCommandIntxDisable));
  config.put(reg::kRevision, 1, spec.revision);
  config.put(reg::kClass, 1, spec.class_code & 0xff);
  config.put(reg::kClass + 1, 2, spec.class_code >> 8 & 0xffff);
  config.put(reg::kCacheLine, 1, 0, writable(0xff));
  config.put(reg::kHeaderType, 1, placement.multi_function ? reg::kHeaderMultiFunction : 0);
  config.put(reg::kSubsystemVendor, 2, spec.subsystem_vendor);
  config.put(reg::kSubsystem, 2, spec.subsystem_device);
  config.put(reg::kInterruptLine, 1, 0, writable(0xff));
  config.put(reg::kInterruptPin, 1, spec.interrupt_pin);
  if (spec.msi) add_msi(config, *spec.msi);
  if (spec.msix) add_msix(config, spec, *spec.msix);
  if (spec.pm) add_pm(config, *spec.pm);
  if (spec.pcie) {
    const bool flr = spec.reset == ResetKind::kFunction;
    add_pcie(config, *spec.pcie, flr ? reg::kPcieFlr : 0, flr ? reg::kPcieControlFlr : u16{0});
  }
  for (const CapabilitySpec& cap : spec.capabilities) add_capability(config, cap);
  for (const ExtendedCapabilitySpec& cap : spec.extended) add_extended(config, cap);
  for (const RegisterSpec& r : spec.registers)
    config.put(r.offset, r.width, r.value, {.writable = r.writable, .clearing = r.clearing});
  // Firmware: resources, and decoding on.
  add_bars(config, spec, placement);
  config.write(reg::kInterruptLine, 1, placement.irq & 0xff);
  config.write(reg::kCommand, 2, decode);
  return config;
}

u64 rom_bar_size(const FunctionSpec& spec) {
  if (!spec.rom || spec.rom->empty()) return 0;
  return std::max(kSmallestRom, std::bit_ceil(u64{spec.rom->size()}));
}

ExtendedCapabilitySpec serial_number(u64 number) {
  ExtendedCapabilitySpec cap{.id = reg::kExtSerialNumber, .bytes = std::vector<u8>(8)};
  for (u32 i = 0; i < 8; ++i) cap.bytes[i] = static_cast<u8>(number >> (8 * i));
  return cap;
}

ExtendedCapabilitySpec error_reporting() {
  // The errors that every function has: bits of the uncorrectable and of the correctable registers, and which of the former
  // are fatal by default.
  constexpr u32 kUncorrectable = 0x001f'f010, kFatal = 0x0006'2010, kCorrectable = 0x0000'31c1, kAdvisory = 0x2000;
  ExtendedCapabilitySpec cap{.id = reg::kExtAer,
                             .version = 2,
                             .bytes = std::vector<u8>(reg::kAerSize - reg::kExtHeader),
                             .writable = std::vector<u8>(reg::kAerSize - reg::kExtHeader),
                             .clearing = std::vector<u8>(reg::kAerSize - reg::kExtHeader)};
  const auto put = [](std::vector<u8>& bytes, u32 offset, u32 value) {
    for (u32 i = 0; i < 4; ++i) bytes[offset - reg::kExtHeader + i] = static_cast<u8>(value >> (8 * i));
  };
  put(cap.clearing, reg::kAerUncorrectable, kUncorrectable);
  put(cap.writable, reg::kAerUncorrectableMask, kUncorrectable);
  put(cap.bytes, reg::kAerUncorrectableSeverity, kFatal);
  put(cap.writable, reg::kAerUncorrectableSeverity, kUncorrectable);
  put(cap.clearing, reg::kAerCorrectable, kCorrectable);
  put(cap.bytes, reg::kAerCorrectableMask, kAdvisory);
  put(cap.writable, reg::kAerCorrectableMask, kCorrectable);
  put(cap.bytes, reg::kAerControl, 0xa0);      // ECRC can be generated and checked
  put(cap.writable, reg::kAerControl, 0x140);  // and both be switched on
  return cap;
}

ExtendedCapabilitySpec access_control(u16 services) {
  const u8 low = static_cast<u8>(services);
  return {.id = reg::kExtAcs, .bytes = {low, 0, low, 0}, .writable = {0, 0, low, 0}};
}

CapabilitySpec advanced_features() {
  return {.id = reg::kCapAf,
          .bytes = {reg::kAfSize, reg::kAfTransactionsPending | reg::kAfFlr, 0, 0},
          .writable = {0, 0, reg::kAfControlFlr}};
}

}  // namespace iommufd::pci

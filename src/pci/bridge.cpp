// SPDX-License-Identifier: BSD-3-Clause
#include "pci/bridge.hpp"

#include "pci/config_registers.hpp"

namespace iommufd::pci {

Bridge::Bridge(const Spec& spec) : spec_(spec), ids_(ids_of(spec)), config_(make_config(spec, ids_)) {}

// Those of QEMU's pcie-root-port, x3130-upstream, xio3130-downstream and pci-bridge, so that tools know names for them.
Bridge::Ids Bridge::ids_of(const Spec& spec) {
  if (!spec.port) return {0x1b36, 0x0001};
  switch (*spec.port) {
    case PcieType::kUpstream: return {0x104c, 0x8232};
    case PcieType::kDownstream: return {0x104c, 0x8233};
    case PcieType::kRootPort:
    case PcieType::kEndpoint: break;
  }
  return {0x1b36, 0x000c};
}

// A window whose base is above its limit is closed.
ConfigSpace Bridge::make_config(const Spec& spec, Ids ids) {
  constexpr u32 kIoBits = 0xf0, kMemoryBits = 0xfff0, kMiB = 20;
  ConfigSpace config(spec.port ? reg::kExtendedConfigSize : reg::kConfigSize);
  const auto writable = [](u32 bits) { return ConfigSpace::Masks{.writable = bits, .clearing = 0}; };
  const u16 command = reg::kCommandIo | reg::kCommandMemory | reg::kCommandMaster;
  config.put(reg::kVendor, 2, ids.vendor);
  config.put(reg::kDevice, 2, ids.device);
  config.put(reg::kCommand, 2, 0, writable(command | reg::kCommandIntxDisable));
  config.put(reg::kClass, 1, kClass & 0xff);
  config.put(reg::kClass + 1, 2, kClass >> 8);
  config.put(reg::kCacheLine, 1, 0, writable(0xff));
  config.put(reg::kHeaderType, 1, reg::kHeaderBridge | (spec.multi_function ? reg::kHeaderMultiFunction : 0));
  for (const u32 bus : {reg::kPrimaryBus, reg::kSecondaryBus, reg::kSubordinateBus})
    config.put(bus, 1, 0, writable(0xff));
  for (const u32 io : {reg::kIoBase, reg::kIoLimit}) config.put(io, 1, 0, writable(kIoBits));
  for (const u32 memory : {reg::kMemoryBase, reg::kMemoryLimit}) config.put(memory, 2, 0, writable(kMemoryBits));
  for (const u32 prefetch : {reg::kPrefetchBase, reg::kPrefetchLimit})
    config.put(prefetch, 2, 0, writable(kMemoryBits));
  config.put(reg::kInterruptLine, 1, 0, writable(0xff));
  config.put(reg::kBridgeControl, 2, 0, writable(0x001f));
  if (spec.port) {
    add_pcie(config, {.type = *spec.port}, 0, 0);
    const u32 subsystem = config.link(reg::kCapBridgeSubsystem, 8, 0);
    config.put(subsystem + 4, 2, ids.vendor);
    add_extended(config, error_reporting());
    if (spec.acs != 0) add_extended(config, access_control(spec.acs));
  }
  config.write(reg::kPrimaryBus, 1, spec.bdf.bus);
  config.write(reg::kSecondaryBus, 1, spec.secondary);
  config.write(reg::kSubordinateBus, 1, spec.subordinate);
  config.write(reg::kIoBase, 1, kIoBits);
  config.write(reg::kPrefetchBase, 2, kMemoryBits);
  const bool open = spec.window.end != 0;
  config.write(reg::kMemoryBase, 2, open ? static_cast<u32>(spec.window.start >> kMiB) << 4 : kMemoryBits);
  config.write(reg::kMemoryLimit, 2, open ? static_cast<u32>(spec.window.end >> kMiB) << 4 : 0);
  config.write(reg::kCommand, 2, command);
  return config;
}

std::vector<Resource> Bridge::sysfs_windows() const {
  constexpr u64 kMemoryWindow = 0x200;
  std::vector<Resource> windows(4);
  if (spec_.window.end != 0) windows[1] = {spec_.window.start, spec_.window.end, kMemoryWindow};
  return windows;
}

std::vector<u8> Bridge::sysfs_config() {
  const MutexLock lock(mu_);
  return config_.bytes();
}

void Bridge::sysfs_write_config(u32 offset, std::span<const std::byte> in) {
  const MutexLock lock(mu_);
  write_hardware(config_, offset, in);
}

}  // namespace iommufd::pci

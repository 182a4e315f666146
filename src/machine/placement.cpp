// SPDX-License-Identifier: BSD-3-Clause
#include "machine/placement.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "machine/topology.hpp"

namespace iommufd::machine {
namespace {

constexpr u64 kMmioStart = 0xc000'0000;  // the hole below 4 GiB that RAM leaves out
constexpr u64 kMmioEnd = 0xfec0'0000;    // below the I/O APIC, and far below the MSI window
constexpr u64 kWindowUnit = 1 << 20;
constexpr u32 kFirstIrq = 16;  // the first that PC interrupt routing gives to PCI
constexpr u32 kIrqs = 8;

std::optional<pci::PcieType> port_type(BridgeKind kind) {
  switch (kind) {
    case BridgeKind::kRootPort: return pci::PcieType::kRootPort;
    case BridgeKind::kUpstream: return pci::PcieType::kUpstream;
    case BridgeKind::kDownstream: return pci::PcieType::kDownstream;
    case BridgeKind::kConventional: break;
  }
  return std::nullopt;
}

u64 align(u64 value, u64 unit) { return (value + unit - 1) & ~(unit - 1); }

class Placer {
 public:
  Placer(const MachineSpec& spec, std::span<const pci::FunctionSpec> functions) : spec_(spec), functions_(functions) {
    out_.devices.resize(spec.devices.size());
    out_.bridges.resize(spec.bridges.size());
  }

  std::expected<Placements, std::string> run() {
    for (std::size_t i = 0; i < spec_.devices.size(); ++i) describe_device(i);
    for (std::size_t i = 0; i < spec_.bridges.size(); ++i) describe_bridge(i);
    std::set<std::pair<u16, u8>> done;
    const auto place_root = [&](const pci::Bdf& at) {
      const auto above = bridges_above(spec_.bridges, at);
      const u8 bus = above.empty() ? at.bus : above.front()->address.bus;
      if (done.emplace(at.domain, bus).second) place_bus(at.domain, bus);
    };
    for (const BridgeSpec& b : spec_.bridges) place_root(b.address);
    for (const DeviceSpec& d : spec_.devices) place_root(*d.address);
    if (!error_.empty()) return std::unexpected(error_);
    return std::move(out_);
  }

 private:
  bool shares_slot(const pci::Bdf& at) const {
    const auto beside = [&](const pci::Bdf& o) {
      return o != at && o.domain == at.domain && o.bus == at.bus && o.device == at.device;
    };
    return std::ranges::any_of(spec_.devices, [&](const DeviceSpec& d) { return beside(*d.address); }) ||
           std::ranges::any_of(spec_.bridges, [&](const BridgeSpec& b) { return beside(b.address); });
  }
  void describe_device(std::size_t i) {
    pci::Placement& placement = out_.devices[i];
    placement.bdf = *spec_.devices[i].address;
    placement.irq = kFirstIrq + static_cast<u32>(i % kIrqs);
    placement.multi_function = shares_slot(placement.bdf);
    for (const BridgeSpec* b : bridges_above(spec_.bridges, placement.bdf)) placement.bridges.push_back(b->address);
    for (const BridgeSpec* b : bridges_above(spec_.bridges, placement.bdf)) placement.buses.push_back(*b->secondary);
  }
  void describe_bridge(std::size_t i) {
    const BridgeSpec& b = spec_.bridges[i];
    out_.bridges[i] = {.bdf = b.address,
                       .port = port_type(b.kind),
                       .acs = b.acs == Acs::kOn ? pci::kAcsIsolation : u16{0},
                       .secondary = *b.secondary,
                       .subordinate = subordinate_bus(spec_.bridges, b),
                       .multi_function = shares_slot(b.address),
                       .bridges = {}};
    for (const BridgeSpec* above : bridges_above(spec_.bridges, b.address))
      out_.bridges[i].bridges.push_back(above->address);
  }
  void place_bus(u16 domain, u8 bus) {
    for (std::size_t i = 0; i < spec_.devices.size(); ++i)
      if (spec_.devices[i].address->domain == domain && spec_.devices[i].address->bus == bus) place_device(i);
    for (std::size_t i = 0; i < spec_.bridges.size(); ++i) {
      if (spec_.bridges[i].address.domain != domain || spec_.bridges[i].address.bus != bus) continue;
      next_ = align(next_, kWindowUnit);
      const u64 start = next_;
      place_bus(domain, *spec_.bridges[i].secondary);
      next_ = align(next_, kWindowUnit);
      if (next_ != start) out_.bridges[i].window = {start, next_ - 1, 0};
    }
  }
  void place_device(std::size_t i) {
    const pci::FunctionSpec& function = functions_[i];
    for (std::size_t bar = 0; bar < pci::kBarCount; ++bar)
      if (function.bars[bar].kind != pci::BarKind::kNone)
        out_.devices[i].bar_base[bar] = take(function.bars[bar].size, i, fmt::format("BAR {}", bar));
    if (const u64 size = pci::rom_bar_size(function); size != 0)
      out_.devices[i].rom_base = take(size, i, "expansion ROM");
  }
  u64 take(u64 size, std::size_t device, std::string_view what) {
    const u64 base = align(next_, size);
    if (size > kMmioEnd || base > kMmioEnd - size) {
      const DeviceSpec& d = spec_.devices[device];
      if (error_.empty())
        error_ = fmt::format("-d {},addr={}: no room is left for its {} below 4 GiB", d.model, d.address->str(), what);
      return 0;
    }
    next_ = base + size;
    return base;
  }

  const MachineSpec& spec_;
  const std::span<const pci::FunctionSpec> functions_;
  Placements out_;
  std::string error_;
  u64 next_ = kMmioStart;
};

}  // namespace

std::expected<Placements, std::string> place(const MachineSpec& spec, std::span<const pci::FunctionSpec> functions) {
  return Placer(spec, functions).run();
}

}  // namespace iommufd::machine

// SPDX-License-Identifier: BSD-3-Clause
#include "machine/topology.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace iommufd::machine {
namespace {

constexpr u8 kLastBus = 0xff;

TopologyMistake in_bridge(std::size_t index, const char* key, std::string text) {
  return {TopologyMistake::In::kBridge, index, key, std::move(text)};
}

// A port has a link to one device below it.
bool is_link(BridgeKind kind) { return kind == BridgeKind::kRootPort || kind == BridgeKind::kDownstream; }

std::optional<std::string> wrong_place(const Bridges& bridges, const BridgeSpec& bridge) {
  const BridgeSpec* above = bridge_above(bridges, bridge.address);
  const std::string at = bridge.address.str();
  switch (bridge.kind) {
    case BridgeKind::kRootPort:
      if (above != nullptr)
        return fmt::format("{} is below the bridge {}; a root port is on a root bus", at, above->address.str());
      break;
    case BridgeKind::kUpstream:
      if (above == nullptr || !is_link(above->kind))
        return fmt::format("{} is not below a root port or a downstream port; an upstream port is", at);
      break;
    case BridgeKind::kDownstream:
      if (above == nullptr || above->kind != BridgeKind::kUpstream)
        return fmt::format("{} is not on the bus of an upstream port; a downstream port is", at);
      break;
    case BridgeKind::kConventional: break;
  }
  if (above != nullptr && above->kind == BridgeKind::kUpstream && bridge.kind != BridgeKind::kDownstream)
    return fmt::format("{} is inside a switch, where only downstream ports are", at);
  return std::nullopt;
}

std::optional<TopologyMistake> bad_numbers(const Bridges& bridges, std::size_t i) {
  const BridgeSpec& bridge = bridges[i];
  const u8 secondary = *bridge.secondary;
  if (secondary <= bridge.address.bus)
    return in_bridge(
        i, "secondary",
        fmt::format("{:#04x} is not above the bus that the bridge is on ({:#04x})", secondary, bridge.address.bus));
  for (std::size_t j = 0; j < bridges.size(); ++j) {
    const BridgeSpec& other = bridges[j];
    if (j == i || other.address.domain != bridge.address.domain) continue;
    if (j < i && other.address == bridge.address)
      return in_bridge(
          i, "addr", fmt::format("{} is the address of bridges[{}] too; change one of them", bridge.address.str(), j));
    if (j < i && *other.secondary == secondary)
      return in_bridge(i, "secondary",
                       fmt::format("{:#04x} is the bus of bridges[{}] too; choose another one", secondary, j));
  }
  return std::nullopt;
}

// What is not below a bridge stays out of its range of buses.
std::optional<std::string> in_foreign_range(const Bridges& bridges, const pci::Bdf& at) {
  const auto above = bridges_above(bridges, at);
  for (const BridgeSpec& bridge : bridges) {
    if (bridge.address.domain != at.domain || std::ranges::find(above, &bridge) != above.end()) continue;
    const u8 last = subordinate_bus(bridges, bridge);
    if (at.bus >= *bridge.secondary && at.bus <= last)
      return fmt::format("bus {:#04x} is between the buses {:#04x} to {:#04x} of the bridge {} and not below it",
                         at.bus, *bridge.secondary, last, bridge.address.str());
  }
  return std::nullopt;
}

std::optional<std::string> wrong_device_place(const Bridges& bridges, const pci::Bdf& at) {
  for (std::size_t i = 0; i < bridges.size(); ++i)
    if (bridges[i].address == at)
      return fmt::format("{} is the address of bridges[{}] too; change one of them", at.str(), i);
  const BridgeSpec* above = bridge_above(bridges, at);
  if (above != nullptr && above->kind == BridgeKind::kUpstream)
    return fmt::format("{} is inside a switch, where only downstream ports are", at.str());
  if (above != nullptr && is_link(above->kind) && at.device != 0)
    return fmt::format("{} cannot be: a port ({}) has a link to one device, 00", at.str(), above->address.str());
  return in_foreign_range(bridges, at);
}

}  // namespace

std::optional<std::size_t> assign_secondary_buses(Bridges& bridges) {
  std::map<u16, u32> last;  // by domain
  for (std::size_t i = 0; i < bridges.size(); ++i) {
    BridgeSpec& bridge = bridges[i];
    u32& before = last[bridge.address.domain];
    if (!bridge.secondary) {
      const u32 next = std::max(before, u32{bridge.address.bus}) + 1;
      if (next > kLastBus) return i;
      bridge.secondary = static_cast<u8>(next);
    }
    before = std::max(before, u32{*bridge.secondary});
  }
  return std::nullopt;
}

std::optional<TopologyMistake> find_topology_mistake(const Bridges& bridges, const std::vector<DeviceSpec>& devices) {
  for (std::size_t i = 0; i < bridges.size(); ++i)
    if (auto mistake = bad_numbers(bridges, i)) return mistake;
  for (std::size_t i = 0; i < bridges.size(); ++i) {
    if (auto text = wrong_place(bridges, bridges[i])) return in_bridge(i, "addr", std::move(*text));
    const bool can_acs = is_link(bridges[i].kind);
    if (bridges[i].acs == Acs::kOn && !can_acs)
      return in_bridge(i, "acs", fmt::format("a bridge of kind {} has no ACS", kind_text(bridges[i].kind)));
    if (auto text = in_foreign_range(bridges, bridges[i].address)) return in_bridge(i, "addr", std::move(*text));
  }
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (!devices[i].address) continue;
    if (auto text = wrong_device_place(bridges, *devices[i].address))
      return TopologyMistake{TopologyMistake::In::kDevice, i, "addr", std::move(*text)};
  }
  return std::nullopt;
}

const BridgeSpec* bridge_above(const Bridges& bridges, const pci::Bdf& at) {
  const auto it = std::ranges::find_if(
      bridges, [&](const BridgeSpec& b) { return b.address.domain == at.domain && *b.secondary == at.bus; });
  return it == bridges.end() ? nullptr : &*it;
}

// Bus numbers rise on the way down, so that this ends.
std::vector<const BridgeSpec*> bridges_above(const Bridges& bridges, const pci::Bdf& at) {
  std::vector<const BridgeSpec*> above;
  for (const BridgeSpec* b = bridge_above(bridges, at); b != nullptr; b = bridge_above(bridges, b->address))
    above.insert(above.begin(), b);
  return above;
}

u8 subordinate_bus(const Bridges& bridges, const BridgeSpec& bridge) {
  u8 last = *bridge.secondary;
  for (const BridgeSpec& b : bridges)
    if (bridge_above(bridges, b.address) == &bridge) last = std::max(last, subordinate_bus(bridges, b));
  return last;
}

bool is_bridged_bus(const Bridges& bridges, const pci::Bdf& at) {
  return std::ranges::any_of(bridges, [&](const BridgeSpec& b) {
    return b.address.domain == at.domain && at.bus >= *b.secondary && at.bus <= subordinate_bus(bridges, b);
  });
}

const char* kind_text(BridgeKind kind) {
  switch (kind) {
    case BridgeKind::kRootPort: return "root-port";
    case BridgeKind::kUpstream: return "upstream";
    case BridgeKind::kDownstream: return "downstream";
    case BridgeKind::kConventional: return "conventional";
  }
  return "";
}

}  // namespace iommufd::machine

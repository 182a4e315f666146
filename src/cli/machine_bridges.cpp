// SPDX-License-Identifier: BSD-3-Clause
#include "cli/machine_bridges.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "base/result.hpp"
#include "cli/device_value.hpp"
#include "cli/suggest.hpp"
#include "machine/groups.hpp"
#include "machine/topology.hpp"

namespace iommufd::cli {
namespace {

using machine::BridgeKind;

constexpr std::array<std::string_view, 4> kBridgeKeys{"addr", "kind", "secondary", "acs"};

Parsed<BridgeKind> parse_kind(std::string_view text) {
  constexpr std::array kKinds{BridgeKind::kRootPort, BridgeKind::kUpstream, BridgeKind::kDownstream,
                              BridgeKind::kConventional};
  std::vector<std::string_view> names;
  for (const BridgeKind kind : kKinds) {
    if (text == machine::kind_text(kind)) return kind;
    names.emplace_back(machine::kind_text(kind));
  }
  return std::unexpected(fmt::format("{} is none of {}{}", text, fmt::join(names, ", "), suggestion(text, names)));
}

Parsed<u8> parse_bus(std::string_view text) {
  const Parsed<u64> number = parse_number(text);
  if (!number || *number == 0 || *number > 0xff)
    return std::unexpected(
        fmt::format("{} is not the number of a bus below a bridge (1 to 255, or 0x1 to 0xff)", text));
  return static_cast<u8>(*number);
}

Parsed<machine::BridgeSpec> parse_bridge(const YamlEntry& entry) {
  const YamlMap map = IOMMUFD_TRY(entry.map("a map of addr, kind, secondary, acs"));
  IOMMUFD_TRY(map.only(kBridgeKeys, "a bridge"));
  machine::BridgeSpec spec;
  const auto address = IOMMUFD_TRY(map.require("addr", "write where the bridge is: addr: 0000:00:1c.0"));
  spec.address = IOMMUFD_TRY(address.parse(parse_address, "a PCI address"));
  if (const YamlEntry* kind = map.find("kind")) spec.kind = IOMMUFD_TRY(kind->parse(parse_kind, "a kind of bridge"));
  if (const YamlEntry* secondary = map.find("secondary"))
    spec.secondary = IOMMUFD_TRY(secondary->parse(parse_bus, "the number of a bus"));
  const bool has_acs = spec.kind == BridgeKind::kRootPort || spec.kind == BridgeKind::kDownstream;
  const YamlEntry* acs = map.find("acs");
  const bool on = acs != nullptr ? IOMMUFD_TRY(acs->truth()) : has_acs;
  spec.acs = on ? machine::Acs::kOn : machine::Acs::kOff;
  return spec;
}

// The value of a key of the n-th entry of a list, or the entry.
YamlEntry entry_of(const YamlEntry& list, std::size_t n, std::string_view key) {
  const YamlEntry entry = list.list("").value()[n];
  const YamlMap map = entry.map("").value();
  const YamlEntry* value = map.find(key);
  return value != nullptr ? *value : entry;
}

}  // namespace

Parsed<std::vector<machine::BridgeSpec>> parse_bridges(const YamlEntry& entry) {
  std::vector<machine::BridgeSpec> bridges;
  for (const YamlEntry& e : IOMMUFD_TRY(entry.list("a list of bridges")))
    bridges.push_back(IOMMUFD_TRY(parse_bridge(e)));
  if (const auto none = machine::assign_secondary_buses(bridges))
    return entry_of(entry, *none, "addr").wrong("no bus number is left for what is below; write 'secondary'");
  return bridges;
}

Parsed<void> check_topology(const machine::MachineSpec& spec, const YamlEntry* bridges, const YamlEntry* devices) {
  const auto mistake = machine::find_topology_mistake(spec.bridges, spec.devices);
  if (!mistake) return {};
  const bool in_bridge = mistake->in == machine::TopologyMistake::In::kBridge;
  return entry_of(in_bridge ? *bridges : *devices, mistake->index, mistake->key).wrong(mistake->text);
}

std::string bridge_conflict(const machine::MachineSpec& spec) {
  const auto conflict = machine::find_bridge_conflict(spec.bridges, spec.devices);
  if (!conflict) return {};
  const machine::DeviceSpec &a = spec.devices[conflict->first], &b = spec.devices[conflict->second];
  return fmt::format(
      "{} (behind {}) and {} (behind {}) are below a bridge without ACS, and so in one group; a group has one IOMMU",
      a.address->str(), a.iommu, b.address->str(), b.iommu);
}

}  // namespace iommufd::cli

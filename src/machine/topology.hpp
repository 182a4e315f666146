// SPDX-License-Identifier: BSD-3-Clause
// Which bridges are above a function, what follows for groups, and which descriptions cannot be built. A bus that is no
// bridge's is a root bus.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "machine/spec.hpp"

namespace iommufd::machine {

using Bridges = std::vector<BridgeSpec>;

// Gives each bridge without a secondary bus the next free number above those of the bridges before it. Returns the first bridge,
// by index, for which none is left.
std::optional<std::size_t> assign_secondary_buses(Bridges& bridges);

// Pre for all below: every bridge has its secondary bus. Below find_topology_mistake(): there is none.

// What cannot be: the first mistake in bridges, and in the addresses of devices that have one.
struct TopologyMistake {
  enum class In : u8 { kBridge, kDevice };
  In in;
  std::size_t index;
  const char* key;  // of the entry
  std::string text;
};
std::optional<TopologyMistake> find_topology_mistake(const Bridges& bridges, const std::vector<DeviceSpec>& devices);

// The bridge right above a function; null on a root bus.
const BridgeSpec* bridge_above(const Bridges& bridges, const pci::Bdf& at);
// The bridges above a function, from the root bus down.
std::vector<const BridgeSpec*> bridges_above(const Bridges& bridges, const pci::Bdf& at);
// The last bus below a bridge.
u8 subordinate_bus(const Bridges& bridges, const BridgeSpec& bridge);
// Does the bus of `at` belong to a bridge, or lie between its buses?
bool is_bridged_bus(const Bridges& bridges, const pci::Bdf& at);

const char* kind_text(BridgeKind kind);

}  // namespace iommufd::machine

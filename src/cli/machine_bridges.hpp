// SPDX-License-Identifier: BSD-3-Clause
// `bridges` of a machine file, and the mistakes that bridges and devices make together.
#pragma once

#include "cli/yaml_entry.hpp"
#include "machine/spec.hpp"

namespace iommufd::cli {

// With their secondary buses.
Parsed<std::vector<machine::BridgeSpec>> parse_bridges(const YamlEntry& entry);

// `bridges` and `devices`: the entries of the file; null: it has none.
Parsed<void> check_topology(const machine::MachineSpec& spec, const YamlEntry* bridges, const YamlEntry* devices);

// Devices behind different IOMMUs that the bridge above them puts into one group, as a sentence; empty: there are none. `devices` have
// addresses.
std::string bridge_conflict(const machine::MachineSpec& spec);

}  // namespace iommufd::cli

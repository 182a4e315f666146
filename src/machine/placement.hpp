// SPDX-License-Identifier: BSD-3-Clause
// What firmware does: addresses for BARs and expansion ROMs in the hole below 4 GiB, windows of bridges around what is below
// them, interrupt lines.
#pragma once

#include <expected>
#include <span>
#include <string>
#include <vector>

#include "machine/spec.hpp"
#include "pci/bridge.hpp"
#include "pci/function_spec.hpp"

namespace iommufd::machine {

struct Placements {
  std::vector<pci::Placement> devices;
  std::vector<pci::Bridge::Spec> bridges;
};

// `functions`: what the devices of `spec` are, in their order. The error is a sentence for the user. Pre: addresses, secondary
// buses, no mistake in the topology.
std::expected<Placements, std::string> place(const MachineSpec& spec, std::span<const pci::FunctionSpec> functions);

}  // namespace iommufd::machine

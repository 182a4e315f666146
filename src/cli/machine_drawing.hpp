// SPDX-License-Identifier: BSD-3-Clause
// `iommufd-user devices --machine=FILE`: a machine as a tree: bridges, IOMMUs, their reserved ranges and groups, devices with their
// addresses and nodes.
#pragma once

#include <string>

#include "machine/machine.hpp"

namespace iommufd::cli {

// `machine`: built from `spec`.
std::string draw_machine(const machine::MachineSpec& spec, const machine::Machine& machine);

}  // namespace iommufd::cli

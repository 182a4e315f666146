// SPDX-License-Identifier: BSD-3-Clause
// `devices --host`, `bind`, `unbind` and `release`: the PCI functions of this machine, shown and prepared.
#pragma once

#include <span>
#include <string>

#include "cli/command_line.hpp"
#include "host/inventory.hpp"

namespace iommufd::cli {

// A table: what each function is, who has it, and whether it can be used without an IOMMU. Pure.
std::string draw_functions(std::span<const host::HostFunction> functions);

// `devices --host`, of this machine.
std::string describe_host();

// Prints; returns the exit code.
int execute_host(const HostCommand& command);

}  // namespace iommufd::cli

// SPDX-License-Identifier: BSD-3-Clause
// The file of --machine: a whole machine as YAML or JSON (docs/machine.md).
#pragma once

#include <string>

#include "cli/values.hpp"
#include "machine/spec.hpp"

namespace iommufd::cli {

// `name`: of the file, for messages, which are "FILE:LINE:COLUMN: devices[2].iommu: what is wrong and what to do". The result
// lacks what machine::assign_addresses() and machine::add_implied_iommus() add; its groups do not conflict.
Parsed<machine::MachineSpec> parse_machine(const std::string& text, const std::string& name);

// Reads the file first.
Parsed<machine::MachineSpec> load_machine(const std::string& path);

}  // namespace iommufd::cli

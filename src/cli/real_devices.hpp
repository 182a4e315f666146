// SPDX-License-Identifier: BSD-3-Clause
// What `-d host,...` asks of the rest of the command line.
#pragma once

#include <expected>
#include <string>

#include "machine/spec.hpp"
#include "run/options.hpp"

namespace iommufd::cli {

// Makes memory and pins real when there is a real device. `phys_given`: by --phys or the machine file. The error is a sentence.
std::expected<void, std::string> settle_real_devices(machine::MachineSpec& machine, run::Options& options,
                                                     bool phys_given);

}  // namespace iommufd::cli

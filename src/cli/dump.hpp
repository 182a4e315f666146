// SPDX-License-Identifier: BSD-3-Clause
// `iommufd-user dump PID`: asks a running `run` for its page tables, and prints or writes them.
#pragma once

#include "cli/command_line.hpp"

namespace iommufd::cli {

// Prints; returns the exit code.
int execute_dump(const DumpCommand& command);

}  // namespace iommufd::cli

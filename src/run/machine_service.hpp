// SPDX-License-Identifier: BSD-3-Clause
// A Machine as what the runner serves: its /dev and /sys, and the files behind its nodes.
#pragma once

#include <optional>

#include "dump/directory.hpp"
#include "machine/machine.hpp"
#include "run/service.hpp"

namespace iommufd::run {

// With a directory (--dump-tables), every page table is written there when it ends.
std::unique_ptr<Service> make_machine_service(std::unique_ptr<machine::Machine> machine,
                                              std::optional<dump::Directory> dump_tables = {});

}  // namespace iommufd::run

// SPDX-License-Identifier: BSD-3-Clause
// A Machine as what the runner serves: its /dev and /sys, and the files behind its nodes.
#pragma once

#include "machine/machine.hpp"
#include "run/service.hpp"

namespace iommufd::run {

std::unique_ptr<Service> make_machine_service(std::unique_ptr<machine::Machine> machine);

}  // namespace iommufd::run

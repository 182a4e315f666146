// SPDX-License-Identifier: BSD-3-Clause
// The attributes of a PCI function that every Linux machine has and that no description need name: they follow from its config
// space, from its reset, and from the processors of this machine.
#pragma once

#include <string>

#include "run/sysfs.hpp"

namespace iommufd::run {

// Adds them to the directory of the function.
void add_derived_attributes(PathTree& tree, const std::string& path, const PciDeviceInfo& d);

// "3" or "0-3,8" as a mask in groups of 32 bits, the highest first: "f" or "1,0000000f". Empty for what is no list.
std::string cpu_mask(std::string_view list);

}  // namespace iommufd::run

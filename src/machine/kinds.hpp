// SPDX-License-Identifier: BSD-3-Clause
// The kinds of devices that a machine can have: the models, and real functions.
#pragma once

#include <span>
#include <string_view>

#include "machine/spec.hpp"
#include "models/registry.hpp"

namespace iommufd::machine {

// In the order in which `iommufd-user devices` prints them.
std::span<const models::Kind> all_kinds();
// Null: no such kind.
const models::Kind* find_kind(std::string_view name);

// Is it a function of this machine, and not a simulated one?
bool is_real(const DeviceSpec& device);

}  // namespace iommufd::machine

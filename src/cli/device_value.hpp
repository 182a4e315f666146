// SPDX-License-Identifier: BSD-3-Clause
// The keys of a device, one by one: what -d and a machine file have in common. Errors are sentences for the user that begin
// with the value, or name the key where the model speaks.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/values.hpp"
#include "machine/spec.hpp"
#include "models/registry.hpp"

namespace iommufd::cli {

Parsed<pci::Bdf> parse_address(std::string_view text);

// The keys that every model has.
std::span<const models::Key> common_device_keys();

Parsed<const models::Kind*> find_model(std::string_view name);

// Keys of every device, then those of the model.
std::vector<std::string_view> device_keys(const models::Kind& model);

// Sets one of device_keys(). `iommus`: those that have names. Each value of a key of the model is checked alone.
Parsed<void> set_device_key(machine::DeviceSpec& spec, std::string_view key, std::string_view value,
                            const std::vector<machine::IommuSpec>& iommus);

// With the defaults of its kind.
machine::DeviceSpec new_device(std::string_view model);

// The rules that hold between keys.
Parsed<void> check_device(const machine::DeviceSpec& spec);

// "unknown key 'x' (did you mean ...?); the keys of OWNER are: ...".
std::string unknown_key(std::string_view key, const std::vector<std::string_view>& known, std::string_view owner);

}  // namespace iommufd::cli

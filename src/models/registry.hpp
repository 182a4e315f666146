// SPDX-License-Identifier: BSD-3-Clause
// The models there are, by name.
#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "models/parameters.hpp"
#include "models/poller.hpp"
#include "pci/device_model.hpp"
#include "pci/function_spec.hpp"

namespace iommufd::models {

// A model with its keys decided: what it looks like on the bus, and how to make one for a pci::Function.
struct Blueprint {
  pci::FunctionSpec spec;
  pci::ModelFactory make;
  // Takes what the device needs of the host (a file, its lock): once, before `make`. Empty: nothing. Errors: sentences.
  std::function<Configured<void>()> acquire{};
};

struct Kind {
  const char* name;
  const char* summary;  // one line
  std::span<const Key> keys;
  // `poller` outlives what the blueprint makes.
  Configured<Blueprint> (*configure)(const KeyValues& given, Poller& poller);
};

// All models, in the order in which `iommufd-user devices` prints them.
std::span<const Kind> all();
// Null: no such model.
const Kind* find(std::string_view name);

}  // namespace iommufd::models

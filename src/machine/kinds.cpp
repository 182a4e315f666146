// SPDX-License-Identifier: BSD-3-Clause
#include "machine/kinds.hpp"

#include <algorithm>
#include <vector>

#include "host/host_kind.hpp"

namespace iommufd::machine {

std::span<const models::Kind> all_kinds() {
  static const std::vector<models::Kind> kKinds = [] {
    std::vector<models::Kind> kinds(models::all().begin(), models::all().end());
    kinds.push_back(host::kind());
    return kinds;
  }();
  return kKinds;
}

const models::Kind* find_kind(std::string_view name) {
  const auto kinds = all_kinds();
  const auto it = std::ranges::find(kinds, name, [](const models::Kind& kind) { return std::string_view(kind.name); });
  return it == kinds.end() ? nullptr : &*it;
}

bool is_real(const DeviceSpec& device) { return device.model == host::kind().name; }

}  // namespace iommufd::machine

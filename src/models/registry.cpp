// SPDX-License-Identifier: BSD-3-Clause
#include "models/registry.hpp"

#include <algorithm>
#include <array>

#include "models/edu_kind.hpp"
#include "models/ioat/ioat_kind.hpp"
#include "models/nvme/nvme_kind.hpp"

namespace iommufd::models {

std::span<const Kind> all() {
  static const std::array kKinds{edu_kind(), ioat::kind(), nvme::kind()};
  return kKinds;
}

const Kind* find(std::string_view name) {
  const auto kinds = all();
  const auto it = std::ranges::find(kinds, name, [](const Kind& kind) { return std::string_view(kind.name); });
  return it == kinds.end() ? nullptr : &*it;
}

}  // namespace iommufd::models

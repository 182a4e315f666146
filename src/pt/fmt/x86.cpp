// SPDX-License-Identifier: BSD-3-Clause
#include "pt/fmt/x86.hpp"

#include "pt/fmt/fixed_depth.hpp"

namespace iommufd::pt {

Result<std::unique_ptr<Table>> make_x86(TableArena& arena, const X86Config& config) {
  return make_fixed_depth<X86>(arena, config);
}

}  // namespace iommufd::pt

// SPDX-License-Identifier: BSD-3-Clause
#include "pt/fmt/arm_lpae.hpp"

#include "pt/fmt/fixed_depth.hpp"

namespace iommufd::pt {

Result<std::unique_ptr<Table>> make_arm_lpae(TableArena& arena, const ArmLpaeConfig& config) {
  return make_fixed_depth<ArmLpae>(arena, config);
}

}  // namespace iommufd::pt

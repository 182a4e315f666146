// SPDX-License-Identifier: BSD-3-Clause
#include "pt/fmt/vtd_second_stage.hpp"

#include "pt/fmt/fixed_depth.hpp"

namespace iommufd::pt {

Result<std::unique_ptr<Table>> make_vtd_second_stage(TableArena& arena, const VtdConfig& config) {
  return make_fixed_depth<VtdSecondStage>(arena, config);
}

}  // namespace iommufd::pt

// SPDX-License-Identifier: BSD-3-Clause
#include "pt/fmt/arm_lpae.hpp"

#include "pt/formats.hpp"
#include "pt/page_table.hpp"

namespace iommufd::pt {

Result<std::unique_ptr<Table>> make_arm_lpae(TableArena& arena, const ArmLpaeConfig& config) {
  return PageTable<ArmLpae>::create(arena, {.name = ArmLpae::kName,
                                            .top_level = config.top_level,
                                            .va_bits = config.va_bits,
                                            .oa_bits = config.oa_bits,
                                            .features = config.features,
                                            .page_sizes = config.page_sizes});
}

}  // namespace iommufd::pt

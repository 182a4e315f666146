// SPDX-License-Identifier: BSD-3-Clause
#include "pt/fmt/vtd_second_stage.hpp"

#include "pt/formats.hpp"
#include "pt/page_table.hpp"

namespace iommufd::pt {

Result<std::unique_ptr<Table>> make_vtd_second_stage(TableArena& arena, const VtdConfig& config) {
  return PageTable<VtdSecondStage>::create(arena, {.name = VtdSecondStage::kName,
                                                   .top_level = config.top_level,
                                                   .va_bits = config.va_bits,
                                                   .oa_bits = config.oa_bits,
                                                   .features = config.features,
                                                   .page_sizes = config.page_sizes});
}

}  // namespace iommufd::pt

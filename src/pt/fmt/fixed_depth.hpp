// SPDX-License-Identifier: BSD-3-Clause
// Makes the tables of formats whose depth is fixed and chosen by the caller: all that their makers in formats.hpp do.
#pragma once

#include "pt/formats.hpp"
#include "pt/page_table.hpp"

namespace iommufd::pt {

template <PageTableFormat F, unsigned VaBits, unsigned OaBits>
Result<std::unique_ptr<Table>> make_fixed_depth(TableArena& arena, const FixedDepthConfig<VaBits, OaBits>& config) {
  return PageTable<F>::create(arena, {.name = F::kName,
                                      .top_level = config.top_level,
                                      .va_bits = config.va_bits,
                                      .oa_bits = config.oa_bits,
                                      .features = config.features,
                                      .page_sizes = config.page_sizes});
}

}  // namespace iommufd::pt

// SPDX-License-Identifier: BSD-3-Clause
#include "pt/fmt/amd_v1.hpp"

#include "pt/formats.hpp"
#include "pt/page_table.hpp"

namespace iommufd::pt {

Result<std::unique_ptr<Table>> make_amd_v1(TableArena& arena, const AmdV1Config& config) {
  return PageTable<AmdV1>::create(arena, {.name = AmdV1::kName,
                                          .top_level = config.start_level,
                                          .va_bits = config.va_bits,
                                          .oa_bits = config.oa_bits,
                                          .features = AmdV1::kForced,
                                          .page_sizes = config.page_sizes,
                                          .listener = config.listener});
}

}  // namespace iommufd::pt

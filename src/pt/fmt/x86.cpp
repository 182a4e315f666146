// SPDX-License-Identifier: BSD-3-Clause
#include "pt/fmt/x86.hpp"

#include "pt/formats.hpp"
#include "pt/page_table.hpp"

namespace iommufd::pt {

Result<std::unique_ptr<Table>> make_x86(TableArena& arena, const X86Config& config) {
  return PageTable<X86>::create(arena, {.name = X86::kName,
                                        .top_level = config.top_level,
                                        .va_bits = config.va_bits,
                                        .oa_bits = config.oa_bits,
                                        .features = config.features,
                                        .page_sizes = config.page_sizes});
}

}  // namespace iommufd::pt

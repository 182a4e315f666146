// SPDX-License-Identifier: BSD-3-Clause
#include "pt/fmt/mock.hpp"

#include "pt/formats.hpp"
#include "pt/page_table.hpp"

namespace iommufd::pt {

Result<std::unique_ptr<Table>> make_mock(TableArena& arena, MockSizes sizes) {
  return PageTable<Mock>::create(arena, {.name = Mock::kName,
                                         .top_level = Mock::kMaxTopLevel,
                                         .va_bits = Mock::kVaBits,
                                         .page_sizes = sizes == MockSizes::kHuge ? Mock::kHugeSizes : ~u64{0}});
}

}  // namespace iommufd::pt

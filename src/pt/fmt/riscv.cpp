// SPDX-License-Identifier: BSD-3-Clause
#include "pt/fmt/riscv.hpp"

#include "pt/formats.hpp"
#include "pt/page_table.hpp"

namespace iommufd::pt {

Result<std::unique_ptr<Table>> make_riscv(TableArena& arena, const RiscVConfig& config) {
  // Widths between those of the modes do not exist.
  unsigned top_level = RiscV::kMinTopLevel;
  while (top_level < RiscV::kMaxTopLevel && RiscV::item_lg2(top_level) + RiscV::kIndexBits < config.va_bits)
    ++top_level;
  if (RiscV::item_lg2(top_level) + RiscV::kIndexBits != config.va_bits) return Err(Errno::kInval);
  constexpr u64 kNapot = u64{1} << RiscV::kNapotLg2;
  return PageTable<RiscV>::create(arena, {.name = RiscV::kName,
                                          .top_level = top_level,
                                          .va_bits = config.va_bits,
                                          .oa_bits = config.oa_bits,
                                          .features = {Feature::kSignExtend},
                                          .page_sizes = config.svnapot ? ~u64{0} : ~kNapot});
}

}  // namespace iommufd::pt

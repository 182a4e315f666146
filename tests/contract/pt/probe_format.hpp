// SPDX-License-Identifier: BSD-3-Clause
// A format of no hardware, for the tests only. It has what the formats of the tree lack, so that the engine's part in it
// is tested before a format needs it: sign-extended addresses, output addresses that are not where they are in the item,
// one size of entry between two levels, and no dirty bit. It also shows how little a format is.
#pragma once

#include <array>

#include "pt/format.hpp"

namespace iommufd::pt::test {

struct Probe : FormatDefaults<12> {
  static constexpr std::string_view kName = "probe";
  static constexpr unsigned kMinTopLevel = 2, kMaxTopLevel = 3, kMaxVaBits = 48, kMaxOaBits = 56;
  static constexpr Features kSupported{Feature::kSignExtend};
  static constexpr unsigned kBigLg2 = 16;  // 16 items of level 0

  using Present = Bits<0, 0>;
  using Permission = Bits<2, 1>;
  using Leaf = Bits<3, 3>;
  using Frame = Bits<53, 10>;  // output address / 4 KiB
  using Big = Bits<63, 63>;

  static constexpr unsigned hardware_depth(unsigned top_level) { return top_level + 6; }
  static constexpr u64 possible_sizes(unsigned level) {
    return u64{1} << item_lg2(level) | (level == 0 ? u64{1} << kBigLg2 : 0);
  }

  static constexpr EntryKind kind(u64 item, unsigned /*level*/) {
    if (Present::get(item) == 0) return EntryKind::kEmpty;
    return Leaf::get(item) != 0 ? EntryKind::kLeaf : EntryKind::kTable;
  }
  static constexpr unsigned entry_lg2(u64 item, unsigned level) {
    return Big::get(item) != 0 ? kBigLg2 : item_lg2(level);
  }
  static constexpr u64 output(u64 item, unsigned /*level*/) { return Frame::get(item) << kPageShift; }
  static constexpr Access access(u64 item) { return static_cast<Access>(Permission::get(item)); }
  static constexpr u64 table_address(u64 item) { return Frame::get(item) << kPageShift; }

  static constexpr Result<u64> permission(Access access, Features) { return Permission::put(static_cast<u64>(access)); }
  static constexpr u64 make_leaf(u64 oa, unsigned level, unsigned size_lg2, u64 permission) {
    return Present::put(1) | Leaf::put(1) | permission | Frame::put(oa >> kPageShift) |
           Big::put(size_lg2 != item_lg2(level));
  }
  static constexpr u64 attributes(u64 item) { return item & Permission::kMask; }
  static constexpr u64 make_table(u64 oa, unsigned /*level*/, Features) {
    return Present::put(1) | Permission::put(Permission::kMax) | Frame::put(oa >> kPageShift);
  }

  static constexpr std::array kTestConfigs{
      TableConfig{.name = "3 levels, sign extended", .top_level = 2, .va_bits = 39, .features = {Feature::kSignExtend}},
      TableConfig{.name = "4 levels, sign extended", .top_level = 3, .va_bits = 48, .features = {Feature::kSignExtend}},
      TableConfig{.name = "4 levels, 45 bits, sign extended",
                  .top_level = 3,
                  .va_bits = 45,
                  .features = {Feature::kSignExtend}},
      TableConfig{.name = "4 levels", .top_level = 3, .va_bits = 48},
  };
};
static_assert(PageTableFormat<Probe>);

}  // namespace iommufd::pt::test

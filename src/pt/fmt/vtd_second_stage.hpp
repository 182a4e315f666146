// SPDX-License-Identifier: BSD-3-Clause
// Intel VT-d second-stage translation (VT-d specification, "Second-Stage Paging Entries"; spec sheet page-table-formats
// 4). The depth is fixed. One item is one entry: 4 KiB, 2 MiB or 1 GiB.
#pragma once

#include <array>

#include "pt/format.hpp"

namespace iommufd::pt {

struct VtdSecondStage : FormatDefaults<12> {
  static constexpr std::string_view kName = "vtd_second_stage";
  static constexpr unsigned kMinTopLevel = 2, kMaxTopLevel = 4, kMaxVaBits = 57, kMaxOaBits = 52;
  static constexpr unsigned kMaxLeafLevel = 2;
  static constexpr Features kSupported{Feature::kForceCoherence, Feature::kForceWriteable, Feature::kNonCoherentWalk};

  using Permission = Bits<1, 0>;  // W, R: the values of Access
  using PageSize = Bits<7, 7>;    // PS, set on a leaf above level 0
  using Accessed = Bits<8, 8>;
  using Dirty = Bits<9, 9>;
  using Flushed = Bits<10, 10>;  // software: the table below is visible to a walker that does not snoop
  using Snoop = Bits<11, 11>;    // SNP
  using Address = Bits<51, 12>;

  // "AW", address width, of a context or PASID entry for a root at this level.
  static constexpr unsigned hardware_depth(unsigned top_level) { return top_level - 1; }

  static constexpr u64 possible_sizes(unsigned level) { return level <= kMaxLeafLevel ? u64{1} << item_lg2(level) : 0; }

  static constexpr EntryKind kind(u64 item, unsigned level) {
    if (item == 0) return EntryKind::kEmpty;
    const bool leaf = level == 0 || (level <= kMaxLeafLevel && PageSize::get(item) != 0);
    return leaf ? EntryKind::kLeaf : EntryKind::kTable;
  }
  static constexpr u64 output(u64 item, unsigned /*level*/) { return item & Address::kMask; }
  static constexpr u64 leaf_bits(u64 /*item*/, unsigned /*level*/) { return Permission::kMask | PageSize::kMask; }
  static constexpr Access access(u64 item) { return static_cast<Access>(Permission::get(item)); }
  static constexpr Access table_access(u64 item) { return access(item); }
  static constexpr u64 table_address(u64 item) { return item & Address::kMask; }

  static constexpr Result<u64> permission(Access access, Features features) {
    if (features.has(Feature::kForceWriteable) && !allows(access, Access::kWrite)) return Err(Errno::kInval);
    return Permission::put(static_cast<u64>(access & Access::kReadWrite)) |
           Snoop::put(features.has(Feature::kForceCoherence));
  }
  static constexpr u64 make_leaf(u64 oa, unsigned level, unsigned /*size_lg2*/, u64 permission) {
    return oa | permission | PageSize::put(level != 0);
  }
  // The simulated walker sees every store, so a table counts as flushed from the start.
  static constexpr u64 attributes(u64 item) {
    return item & (Permission::kMask | Accessed::kMask | Dirty::kMask | Snoop::kMask);
  }
  static constexpr u64 make_table(u64 oa, unsigned /*level*/, Features features) {
    return oa | Permission::put(Permission::kMax) | Flushed::put(features.has(Feature::kNonCoherentWalk));
  }

  static constexpr bool kTracksDirty = true;
  static constexpr bool is_dirty(u64 item) { return Dirty::get(item) != 0; }
  static constexpr u64 make_dirty(u64 item) { return item | Dirty::kMask; }
  static constexpr u64 make_accessed(u64 item) { return item | Accessed::kMask; }
  static constexpr u64 make_clean(u64 item) { return item & ~Dirty::kMask; }

  static constexpr std::array kTestConfigs{
      TableConfig{.name = "3 levels", .top_level = 2, .va_bits = 39},
      TableConfig{.name = "4 levels", .top_level = 3, .va_bits = 48},
      TableConfig{.name = "4 levels, 47 bits", .top_level = 3, .va_bits = 47},
      TableConfig{.name = "5 levels", .top_level = 4, .va_bits = 57},
      TableConfig{.name = "4 levels, snooping", .top_level = 3, .va_bits = 48, .features = {Feature::kForceCoherence}},
      TableConfig{
          .name = "4 levels, writeable only", .top_level = 3, .va_bits = 48, .features = {Feature::kForceWriteable}},
      TableConfig{.name = "4 levels, walker does not snoop",
                  .top_level = 3,
                  .va_bits = 48,
                  .features = {Feature::kNonCoherentWalk}},
      TableConfig{.name = "4 levels, no 1 GiB", .top_level = 3, .va_bits = 48, .page_sizes = 0x201000},
  };
};
static_assert(PageTableFormat<VtdSecondStage>);
static_assert(VtdSecondStage::make_leaf(0x4020'0000, 1, 21, VtdSecondStage::Permission::put(1)) == 0x4020'0081);

}  // namespace iommufd::pt

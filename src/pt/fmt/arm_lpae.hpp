// SPDX-License-Identifier: BSD-3-Clause
// ARM LPAE stage 2 with the 4 KiB granule (Arm ARM, "VMSAv8-64 translation tables"; spec sheet page-table-formats 7). The depth
// is fixed; Arm counts levels from the root down to 3, we from the leaves up. Sixteen items in a row with the contiguous hint are
// one entry: unlike in other formats each of them has its own address. The access flag is set from the start, and stage 2 has no
// dirty state here. Root tables that are put side by side are not built: no width that an SMMU of ours has needs them.
#pragma once

#include <array>

#include "pt/format.hpp"

namespace iommufd::pt {

struct ArmLpae : FormatDefaults<12> {
  static constexpr std::string_view kName = "arm_lpae_s2";
  static constexpr unsigned kMinTopLevel = 1, kMaxTopLevel = 3, kMaxVaBits = 48, kMaxOaBits = 48;
  static constexpr unsigned kMaxLeafLevel = 2;
  static constexpr unsigned kContiguousLg2 = 4;  // items of an entry with the hint
  static constexpr Features kSupported{Feature::kNonCoherentWalk};
  static constexpr Errno kBadLevel = Errno::kInval;
  static constexpr Errno kInUse = Errno::kExist;

  using Type = Bits<1, 0>;        // 3: a table above level 0, a page at level 0; 1: a block
  using MemAttr = Bits<5, 2>;     // 0xf: normal memory, write-back
  using Permission = Bits<7, 6>;  // HAP: the values of Access
  using Shareable = Bits<9, 8>;   // 3: inner
  using Accessed = Bits<10, 10>;
  using Address = Bits<47, 12>;
  using Contiguous = Bits<52, 52>;
  using Synced = Bits<55, 55>;  // software: the table below is visible to a walker that does not snoop

  // SL0 of VTCR and of a stream table entry.
  static constexpr unsigned hardware_depth(unsigned top_level) { return top_level - 1; }

  static constexpr u64 possible_sizes(unsigned level) {
    return level <= kMaxLeafLevel ? u64{1} << item_lg2(level) | u64{1} << (item_lg2(level) + kContiguousLg2) : 0;
  }

  static constexpr EntryKind kind(u64 item, unsigned level) {
    constexpr u64 kBlock = 1;
    if ((item & 1) == 0) return EntryKind::kEmpty;
    return level == 0 || Type::get(item) == kBlock ? EntryKind::kLeaf : EntryKind::kTable;
  }
  static constexpr unsigned entry_lg2(u64 item, unsigned level) {
    return item_lg2(level) + (Contiguous::get(item) != 0 ? kContiguousLg2 : 0);
  }
  static constexpr u64 output(u64 item, unsigned level) {
    return align_down(item & Address::kMask, u64{1} << entry_lg2(item, level));
  }
  static constexpr u64 leaf_bits(u64 /*item*/, unsigned /*level*/) { return Type::kMask | Contiguous::kMask; }
  static constexpr Access access(u64 item) { return static_cast<Access>(Permission::get(item)); }
  static constexpr u64 table_address(u64 item) { return item & Address::kMask; }

  static constexpr Result<u64> permission(Access access, Features /*features*/) {
    return Permission::put(static_cast<u64>(access & Access::kReadWrite)) | MemAttr::put(MemAttr::kMax) |
           Shareable::put(Shareable::kMax) | Accessed::kMask |
           ExecuteNever::put(allows(access, Access::kNoExecute) ? ExecuteNever::kMax : 0);
  }
  static constexpr u64 make_leaf(u64 oa, unsigned level, unsigned size_lg2, u64 permission) {
    return oa | permission | Type::put(level == 0 ? 3 : 1) | Contiguous::put(size_lg2 != item_lg2(level));
  }
  static constexpr u64 slot_step(unsigned level) { return u64{1} << item_lg2(level); }
  static constexpr u64 attributes(u64 item) { return item & ~(Address::kMask | Type::kMask | Contiguous::kMask); }
  static constexpr u64 make_table(u64 oa, unsigned /*level*/, Features features) {
    return oa | Type::put(Type::kMax) | Synced::put(features.has(Feature::kNonCoherentWalk));
  }

  static constexpr std::array kTestConfigs{
      TableConfig{.name = "2 levels", .top_level = 1, .va_bits = 30, .oa_bits = 48},
      TableConfig{.name = "3 levels", .top_level = 2, .va_bits = 39, .oa_bits = 48},
      TableConfig{.name = "4 levels", .top_level = 3, .va_bits = 48, .oa_bits = 48},
      TableConfig{.name = "4 levels, 44 bits", .top_level = 3, .va_bits = 44, .oa_bits = 44},
      TableConfig{.name = "4 levels, no hint", .top_level = 3, .va_bits = 48, .oa_bits = 48, .page_sizes = 0x4020'1000},
      TableConfig{.name = "4 levels, walker does not snoop",
                  .top_level = 3,
                  .va_bits = 48,
                  .oa_bits = 48,
                  .features = {Feature::kNonCoherentWalk}},
  };

 private:
  using ExecuteNever = Bits<54, 53>;
};
static_assert(PageTableFormat<ArmLpae>);
static_assert(ArmLpae::make_leaf(0x8020'0000, 1, 21, *ArmLpae::permission(Access::kReadWrite, {})) == 0x8020'07fd);
static_assert(ArmLpae::make_leaf(0x1000, 0, 12, *ArmLpae::permission(Access::kRead, {})) == 0x177f);

}  // namespace iommufd::pt

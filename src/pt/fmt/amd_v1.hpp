// SPDX-License-Identifier: BSD-3-Clause
// AMD I/O page tables for host translation, "v1" (AMD I/O Virtualization Technology specification, "I/O Page Tables for
// Host Translations"; spec sheet page-table-formats 3). Level n here is hardware mode n + 1.
//
// A leaf of its item's size has Next Level 0. Any larger power of two has Next Level 7 in as many items as it needs, all
// with the same value, which encodes the size in the low bits of the address. 512 GiB is never used: hardware defect.
#pragma once

#include <array>

#include "pt/format.hpp"

namespace iommufd::pt {

struct AmdV1 : FormatDefaults<12> {
  static constexpr std::string_view kName = "amd_v1";
  static constexpr unsigned kMinTopLevel = 1, kMaxTopLevel = 5, kMaxVaBits = 64, kMaxOaBits = 52;
  static constexpr unsigned kMaxLeafLevel = 4;
  static constexpr Errno kBadLevel = Errno::kInval;
  static constexpr Features kSupported{Feature::kDynamicTop, Feature::kForceCoherence};
  static constexpr Features kForced = kSupported;

  using Present = Bits<0, 0>;
  using Accessed = Bits<5, 5>;
  using Dirty = Bits<6, 6>;
  using NextLevel = Bits<11, 9>;
  using Address = Bits<51, 12>;
  using ForceCoherent = Bits<60, 60>;                   // FC
  using Permission = Bits<62, 61>;                      // IW, IR: the values of Access
  static constexpr u64 kOwnSize = 0, kEncodedSize = 7;  // NextLevel of a leaf
  static constexpr u64 kBadSize = u64{1} << 39;

  // "Mode" of a device table entry for a root at this level.
  static constexpr unsigned hardware_depth(unsigned top_level) { return top_level + 1; }

  static constexpr u64 possible_sizes(unsigned level) {
    if (level > kMaxLeafLevel) return 0;
    return (((u64{1} << kIndexBits) - 1) << item_lg2(level)) & ~kBadSize;
  }

  static constexpr EntryKind kind(u64 item, unsigned level) {
    if (Present::get(item) == 0) return EntryKind::kEmpty;
    const u64 next = NextLevel::get(item);
    return level == 0 || next == kOwnSize || next == kEncodedSize ? EntryKind::kLeaf : EntryKind::kTable;
  }
  static constexpr unsigned entry_lg2(u64 item, unsigned level) {
    if (NextLevel::get(item) != kEncodedSize) return item_lg2(level);
    return static_cast<unsigned>(std::countr_one(Address::get(item))) + kGranuleLg2 + 1;
  }
  static constexpr u64 output(u64 item, unsigned level) {
    return item & Address::kMask & ~((u64{1} << entry_lg2(item, level)) - 1);
  }
  static constexpr u64 leaf_bits(u64 item, unsigned level) {
    const u64 size_code = NextLevel::get(item) == kEncodedSize ? (u64{1} << entry_lg2(item, level)) - 1 : 0;
    return Present::kMask | NextLevel::kMask | (size_code & Address::kMask);
  }
  static constexpr Access access(u64 item) { return static_cast<Access>(Permission::get(item)); }
  static constexpr Access table_access(u64 item) { return access(item); }
  static constexpr u64 table_address(u64 item) { return item & Address::kMask; }

  static constexpr Result<u64> permission(Access access, Features) {
    return Permission::put(static_cast<u64>(access & Access::kReadWrite)) | ForceCoherent::put(1);
  }
  static constexpr u64 make_leaf(u64 oa, unsigned level, unsigned size_lg2, u64 permission) {
    if (size_lg2 == item_lg2(level)) return oa | permission | Present::put(1);
    const u64 size_code = (u64{1} << (size_lg2 - 1)) - (u64{1} << kGranuleLg2);
    return oa | size_code | NextLevel::put(kEncodedSize) | permission | Present::put(1);
  }
  static constexpr u64 attributes(u64 item) {
    return item & (Accessed::kMask | Dirty::kMask | ForceCoherent::kMask | Permission::kMask);
  }
  static constexpr u64 make_table(u64 oa, unsigned level, Features) {
    return oa | NextLevel::put(level) | Permission::put(Permission::kMax) | Present::put(1);
  }

  static constexpr bool kTracksDirty = true;
  static constexpr bool is_dirty(u64 item) { return Dirty::get(item) != 0; }
  static constexpr u64 make_dirty(u64 item) { return item | Dirty::kMask; }
  static constexpr u64 make_accessed(u64 item) { return item | Accessed::kMask; }
  static constexpr u64 make_clean(u64 item) { return item & ~Dirty::kMask; }

  static constexpr std::array kTestConfigs{
      TableConfig{.name = "level 1", .top_level = 1, .va_bits = 64, .features = kForced},
      TableConfig{.name = "level 2", .top_level = 2, .va_bits = 64, .features = kForced},
      TableConfig{.name = "level 2, 48 bits", .top_level = 2, .va_bits = 48, .features = kForced},
      TableConfig{.name = "level 3, 32-bit OA", .top_level = 3, .va_bits = 64, .oa_bits = 32, .features = kForced},
      TableConfig{.name = "level 4", .top_level = 4, .va_bits = 64, .features = kForced},
      TableConfig{.name = "level 5", .top_level = 5, .va_bits = 64, .features = kForced},
      TableConfig{.name = "level 2, no large entries",
                  .top_level = 2,
                  .va_bits = 64,
                  .features = kForced,
                  .page_sizes = kPageSize},
  };
};
static_assert(PageTableFormat<AmdV1>);
static_assert(AmdV1::make_leaf(0x5001'0000, 0, 16, 0) == 0x5001'7e01);
static_assert(AmdV1::entry_lg2(0x4000'2e01, 0) == 13 && AmdV1::entry_lg2(0x5001'7e01, 0) == 16);

}  // namespace iommufd::pt

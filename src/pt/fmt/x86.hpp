// SPDX-License-Identifier: BSD-3-Clause
// x86-64 paging, as IOMMUs use it: AMD "v2" tables and VT-d first stage (AMD64 manual, volume 2, "Long-Mode Page Translation"; spec
// sheet page-table-formats 5). The depth is fixed. One item is one entry: 4 KiB, 2 MiB or 1 GiB. Accessed and dirty are set
// from the start, so that no walker ever has to write: nothing tells afterwards what was written.
#pragma once

#include <array>

#include "pt/format.hpp"

namespace iommufd::pt {

struct X86 : FormatDefaults<12> {
  static constexpr std::string_view kName = "x86_64";
  static constexpr unsigned kMinTopLevel = 3, kMaxTopLevel = 4, kMaxVaBits = 57, kMaxOaBits = 52;
  static constexpr unsigned kMaxLeafLevel = 2;
  static constexpr Features kSupported{Feature::kNonCoherentWalk, Feature::kSignExtend};

  using Present = Bits<0, 0>;
  using Writable = Bits<1, 1>;  // R/W
  using User = Bits<2, 2>;      // U/S
  using Accessed = Bits<5, 5>;
  using Dirty = Bits<6, 6>;
  using PageSize = Bits<7, 7>;  // PS, set on a leaf above level 0
  using Flushed = Bits<9, 9>;   // software: the table below is visible to a walker that does not snoop
  using Address = Bits<51, 12>;

  // Levels, as the guest CR3 table of AMD and the PASID entry of VT-d count them.
  static constexpr unsigned hardware_depth(unsigned top_level) { return top_level + 1; }

  static constexpr u64 possible_sizes(unsigned level) { return level <= kMaxLeafLevel ? u64{1} << item_lg2(level) : 0; }

  static constexpr EntryKind kind(u64 item, unsigned level) {
    if (Present::get(item) == 0) return EntryKind::kEmpty;
    const bool leaf = level == 0 || (level <= kMaxLeafLevel && PageSize::get(item) != 0);
    return leaf ? EntryKind::kLeaf : EntryKind::kTable;
  }
  static constexpr u64 output(u64 item, unsigned /*level*/) { return item & Address::kMask; }
  static constexpr u64 leaf_bits(u64 /*item*/, unsigned /*level*/) { return Present::kMask | PageSize::kMask; }
  // Whoever may write may read.
  static constexpr Access granted(Access asked) {
    return allows(asked, Access::kWrite) ? Access::kReadWrite : Access::kRead;
  }
  static constexpr Access access(u64 item) {
    static_assert(static_cast<u64>(Access::kWrite) == Writable::kMask);
    return Access::kRead | static_cast<Access>(item & Writable::kMask);
  }
  static constexpr Access table_access(u64 item) { return access(item); }
  static constexpr u64 table_address(u64 item) { return item & Address::kMask; }

  static constexpr Result<u64> permission(Access access, Features /*features*/) {
    const bool write = allows(access, Access::kWrite);
    return Present::kMask | User::kMask | Accessed::kMask | Writable::put(write) | Dirty::put(write);
  }
  static constexpr u64 make_leaf(u64 oa, unsigned level, unsigned /*size_lg2*/, u64 permission) {
    return oa | permission | PageSize::put(level != 0);
  }
  static constexpr u64 attributes(u64 item) { return item & ~(Address::kMask | PageSize::kMask); }
  static constexpr u64 make_table(u64 oa, unsigned /*level*/, Features features) {
    return oa | Present::kMask | Writable::kMask | User::kMask | Accessed::kMask |
           Flushed::put(features.has(Feature::kNonCoherentWalk));
  }

  static constexpr std::array kTestConfigs{
      TableConfig{.name = "4 levels, 47 bits", .top_level = 3, .va_bits = 47},
      TableConfig{.name = "4 levels, sign extended", .top_level = 3, .va_bits = 48, .features = {Feature::kSignExtend}},
      TableConfig{.name = "5 levels, 56 bits", .top_level = 4, .va_bits = 56},
      TableConfig{.name = "5 levels, sign extended", .top_level = 4, .va_bits = 57, .features = {Feature::kSignExtend}},
      TableConfig{.name = "4 levels, walker does not snoop",
                  .top_level = 3,
                  .va_bits = 47,
                  .features = {Feature::kNonCoherentWalk}},
      TableConfig{.name = "4 levels, no 1 GiB", .top_level = 3, .va_bits = 47, .page_sizes = 0x201000},
  };
};
static_assert(PageTableFormat<X86>);
static_assert(X86::make_leaf(0x8020'0000, 1, 21, *X86::permission(Access::kReadWrite, {})) == 0x8020'00e7);

}  // namespace iommufd::pt

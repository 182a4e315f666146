// SPDX-License-Identifier: BSD-3-Clause
// The format of the mock IOMMU (spec selftest-abi 5.1): no hardware reads it. A format of its own, because its granule of
// 2 KiB leaves AMD v1 no room for the bits below the address; so the engine's algorithms serve it as they serve hardware.
//
// Items of 2 KiB, 1 MiB and 512 MiB; an entry of any power of two between fills as many items as it needs, all with the
// same value, which says its size.
#pragma once

#include <array>

#include "pt/format.hpp"

namespace iommufd::pt {

struct Mock : FormatDefaults<11> {
  static constexpr std::string_view kName = "mock";
  static constexpr unsigned kMinTopLevel = 2, kMaxTopLevel = 2, kMaxVaBits = 64, kMaxOaBits = 52;
  static constexpr unsigned kVaBits = 38;  // what three levels cover

  using Present = Bits<0, 0>;
  using Dirty = Bits<1, 1>;
  using Accessed = Bits<10, 10>;
  using Permission = Bits<3, 2>;  // the values of Access
  using SizeLg2 = Bits<9, 4>;     // of the entry; 0: the item points to a table
  using Address = Bits<51, 11>;

  static constexpr unsigned hardware_depth(unsigned top_level) { return top_level + 1; }
  static constexpr u64 possible_sizes(unsigned level) { return ((u64{1} << kIndexBits) - 1) << item_lg2(level); }

  static constexpr EntryKind kind(u64 item, unsigned /*level*/) {
    if (Present::get(item) == 0) return EntryKind::kEmpty;
    return SizeLg2::get(item) == 0 ? EntryKind::kTable : EntryKind::kLeaf;
  }
  static constexpr unsigned entry_lg2(u64 item, unsigned /*level*/) {
    return static_cast<unsigned>(SizeLg2::get(item));
  }
  static constexpr u64 output(u64 item, unsigned /*level*/) { return item & Address::kMask; }
  static constexpr u64 leaf_bits(u64 /*item*/, unsigned /*level*/) { return Present::kMask | SizeLg2::kMask; }
  static constexpr Access access(u64 item) { return static_cast<Access>(Permission::get(item)); }
  static constexpr Access table_access(u64 item) { return access(item); }
  static constexpr u64 table_address(u64 item) { return item & Address::kMask; }

  static constexpr Result<u64> permission(Access access, Features) {
    return Permission::put(static_cast<u64>(access & Access::kReadWrite));
  }
  static constexpr u64 make_leaf(u64 oa, unsigned /*level*/, unsigned size_lg2, u64 permission) {
    return oa | SizeLg2::put(size_lg2) | permission | Present::put(1);
  }
  static constexpr u64 attributes(u64 item) { return item & (Permission::kMask | Dirty::kMask | Accessed::kMask); }
  static constexpr u64 make_table(u64 oa, unsigned /*level*/, Features) {
    return oa | Permission::put(Permission::kMax) | Present::put(1);
  }

  static constexpr bool kTracksDirty = true;
  static constexpr bool is_dirty(u64 item) { return Dirty::get(item) != 0; }
  static constexpr u64 make_dirty(u64 item) { return item | Dirty::kMask; }
  static constexpr u64 make_accessed(u64 item) { return item | Accessed::kMask; }
  static constexpr u64 make_clean(u64 item) { return item & ~Dirty::kMask; }

  static constexpr u64 kHugeSizes = (u64{1} << 20) | (u64{1} << 12);

  static constexpr std::array kTestConfigs{
      TableConfig{.name = "default", .top_level = 2, .va_bits = kVaBits},
      TableConfig{.name = "no 1 MiB", .top_level = 2, .va_bits = kVaBits, .page_sizes = ~(u64{1} << 20)},
  };
};
static_assert(PageTableFormat<Mock>);
static_assert(Mock::entry_lg2(Mock::make_leaf(0x1800, 0, 11, 0), 0) == 11);

}  // namespace iommufd::pt

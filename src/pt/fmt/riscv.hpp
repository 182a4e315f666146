// SPDX-License-Identifier: BSD-3-Clause
// RISC-V Sv39, Sv48 and Sv57 (RISC-V privileged specification, "Supervisor-Level ISA", with Svnapot; spec sheet
// page-table-formats 6). The depth is fixed by the width. Every level may hold leaves; at level 0 sixteen equal items are one entry of
// 64 KiB. Accessed and dirty are set from the start.
#pragma once

#include <array>

#include "pt/format.hpp"

namespace iommufd::pt {

struct RiscV : FormatDefaults<12> {
  static constexpr std::string_view kName = "riscv";
  static constexpr unsigned kMinTopLevel = 2, kMaxTopLevel = 4, kMaxVaBits = 57, kMaxOaBits = 56;
  static constexpr Features kSupported{Feature::kSignExtend};
  static constexpr Errno kBadLevel = Errno::kInval;
  static constexpr unsigned kNapotLg2 = 16;

  using Valid = Bits<0, 0>;
  using Readable = Bits<1, 1>;
  using Writable = Bits<2, 2>;
  using Permission = Bits<2, 1>;  // W, R: the values of Access
  using Executable = Bits<3, 3>;
  using User = Bits<4, 4>;
  using Accessed = Bits<6, 6>;
  using Dirty = Bits<7, 7>;
  using PageNumber = Bits<53, 10>;
  using Napot = Bits<63, 63>;  // N: the page number ends in 1000, and the entry has 16 items
  static constexpr u64 kLeafBits = Readable::kMask | Writable::kMask | Executable::kMask;  // none: a table

  // "MODE" of satp and iosatp: 8 is Sv39.
  static constexpr unsigned hardware_depth(unsigned top_level) { return top_level + 6; }

  static constexpr u64 possible_sizes(unsigned level) {
    return u64{1} << item_lg2(level) | (level == 0 ? u64{1} << kNapotLg2 : 0);
  }

  static constexpr EntryKind kind(u64 item, unsigned level) {
    if (Valid::get(item) == 0) return EntryKind::kEmpty;
    return level == 0 || (item & kLeafBits) != 0 ? EntryKind::kLeaf : EntryKind::kTable;
  }
  static constexpr unsigned entry_lg2(u64 item, unsigned level) {
    if (level != 0) return item_lg2(level);
    return item_lg2(0) + static_cast<unsigned>(Napot::get(item)) * (kNapotLg2 - kGranuleLg2);
  }
  static constexpr u64 output(u64 item, unsigned level) {
    return align_down(address(item), u64{1} << entry_lg2(item, level));
  }
  static constexpr u64 leaf_bits(u64 /*item*/, unsigned /*level*/) { return Valid::kMask | kLeafBits | Napot::kMask; }
  // Whoever may write may read.
  static constexpr Access granted(Access asked) {
    return allows(asked, Access::kWrite) ? Access::kReadWrite : asked & Access::kRead;
  }
  static constexpr Access access(u64 item) { return static_cast<Access>(Permission::get(item)); }
  static constexpr u64 table_address(u64 item) { return address(item); }

  static constexpr Result<u64> permission(Access access, Features /*features*/) {
    const bool write = allows(access, Access::kWrite);
    const bool execute = !allows(access, Access::kNoExecute);
    const bool read = write || allows(access, Access::kRead);  // W without R is reserved
    if (!read && !execute) return Err(Errno::kOpNotSupp);
    return Valid::kMask | User::kMask | Accessed::kMask | Readable::put(read) | Writable::put(write) |
           Dirty::put(write) | Executable::put(execute);
  }
  static constexpr u64 make_leaf(u64 oa, unsigned level, unsigned size_lg2, u64 permission) {
    const bool napot = size_lg2 != item_lg2(level);
    constexpr u64 kHalf = u64{1} << (kNapotLg2 - 1);
    return item_at(napot ? oa | kHalf : oa) | permission | Napot::put(napot);
  }
  static constexpr u64 attributes(u64 item) { return item & ~(PageNumber::kMask | Napot::kMask); }
  static constexpr u64 make_table(u64 oa, unsigned /*level*/, Features /*features*/) {
    return item_at(oa) | Valid::kMask;
  }

  static constexpr std::array kTestConfigs{
      TableConfig{.name = "Sv39", .top_level = 2, .va_bits = 39, .oa_bits = 56, .features = {Feature::kSignExtend}},
      TableConfig{.name = "Sv48", .top_level = 3, .va_bits = 48, .oa_bits = 56, .features = {Feature::kSignExtend}},
      TableConfig{.name = "Sv57", .top_level = 4, .va_bits = 57, .oa_bits = 56, .features = {Feature::kSignExtend}},
      TableConfig{.name = "Sv48, one half", .top_level = 3, .va_bits = 48, .oa_bits = 52},
      TableConfig{.name = "Sv39 without Svnapot",
                  .top_level = 2,
                  .va_bits = 39,
                  .features = {Feature::kSignExtend},
                  .page_sizes = ~(u64{1} << kNapotLg2)},
  };

 private:
  static constexpr unsigned kPageShiftInItem = 12 - 10;  // of an address against its place in an item
  static constexpr u64 item_at(u64 oa) { return oa >> kPageShiftInItem; }
  static constexpr u64 address(u64 item) { return (item & PageNumber::kMask) << kPageShiftInItem; }
};
static_assert(PageTableFormat<RiscV>);
static_assert(RiscV::make_leaf(0x5001'0000, 0, 16, *RiscV::permission(Access::kReadWrite, {})) ==
              0x8000'0000'1400'60df);

}  // namespace iommufd::pt

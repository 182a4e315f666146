// SPDX-License-Identifier: BSD-3-Clause
// What a page-table format must answer. A format is a stateless policy: constants and constexpr functions about the bits
// of one item. It knows no memory, no walk and no lock; those are the engine's, which knows no bits. To add a format:
// write fmt/NAME.hpp with these members and its test configurations, and a function in formats.hpp that makes it.
//
// Vocabulary (spec page-table-formats 1): item = one 8-byte slot; entry = one translation, one item or 2^k items that
// follow each other; level 0 = the leaf table; OA = output (physical) address; `_lg2` = base-2 logarithm.
#pragma once

#include <bit>
#include <concepts>
#include <string_view>

#include "base/bits.hpp"
#include "base/result.hpp"
#include "base/types.hpp"
#include "pt/feature.hpp"

namespace iommufd::pt {

class TopListener;

enum class EntryKind {
  kEmpty,
  kLeaf,   // gives an output address
  kTable,  // points to the table one level below
};

// How one table is made. Which values are valid is the format's and the engine's rule (PageTable::create).
struct TableConfig {
  std::string_view name;  // of a test configuration
  unsigned top_level = 0;
  unsigned va_bits = 0;
  unsigned oa_bits = 52;
  Features features{};
  u64 page_sizes = ~u64{0};
  TopListener* listener = nullptr;
};

// A base for formats: the geometry of a radix tree, and "no" for every optional ability.
template <unsigned GranuleLg2, unsigned IndexBits = 9>
struct FormatDefaults {
  static constexpr unsigned kGranuleLg2 = GranuleLg2;    // size of a level-0 item
  static constexpr unsigned kIndexBits = IndexBits;      // a table has 2^kIndexBits items
  static constexpr Features kSupported{};                // features that a table may have
  static constexpr Features kForced{};                   // and must have
  static constexpr Errno kBadLevel = Errno::kOpNotSupp;  // a top level outside kMinTopLevel..kMaxTopLevel
  static constexpr Errno kInUse = Errno::kAddrInUse;     // map() finds a leaf
  static constexpr bool kTracksDirty = false;

  static constexpr unsigned item_lg2(unsigned level) { return GranuleLg2 + IndexBits * level; }
  // One item, one entry.
  static constexpr unsigned entry_lg2(u64 /*item*/, unsigned level) { return item_lg2(level); }
  // What tells leaves of one size apart from others is not known: only equal items are alike.
  static constexpr u64 leaf_bits(u64 /*item*/, unsigned /*level*/) { return ~u64{0}; }
  // Table items limit nothing.
  static constexpr Access table_access(u64 /*item*/) { return Access::kReadWrite; }
  // Leaves say exactly what was asked for.
  static constexpr Access granted(Access asked) { return asked & Access::kReadWrite; }
  // All items of an entry are equal.
  static constexpr u64 slot_step(unsigned /*level*/) { return 0; }
};

template <class F>
concept PageTableFormat =
    requires(u64 item, u64 oa, unsigned level, unsigned size_lg2, Access access, Features features) {
      // Geometry and limits.
      { F::kName } -> std::convertible_to<std::string_view>;
      requires(F::kGranuleLg2 + F::kIndexBits < 64 && F::kIndexBits > 0);
      requires(F::kMinTopLevel <= F::kMaxTopLevel && F::kMaxTopLevel <= 7);  // the level fits beside the root's address
      requires(F::kMaxVaBits <= 64 && F::kMaxOaBits < 64);
      requires(F::kSupported.contains(F::kForced));
      { F::kBadLevel } -> std::convertible_to<Errno>;
      { F::kInUse } -> std::convertible_to<Errno>;
      // How the IOMMU's own structures call the depth of a table with its root at this level.
      { F::hardware_depth(level) } -> std::same_as<unsigned>;
      { F::item_lg2(level) } -> std::same_as<unsigned>;
      // Sizes of leaves that a table of `level` can hold, one bit each; the smallest may need one item, larger ones more.
      { F::possible_sizes(level) } -> std::same_as<u64>;

      // Reading an item. An item of zero is empty.
      { F::kind(item, level) } -> std::same_as<EntryKind>;
      // Of a leaf: size of its entry, and the OA where the entry starts, from any of its items.
      { F::entry_lg2(item, level) } -> std::same_as<unsigned>;
      { F::output(item, level) } -> std::same_as<u64>;
      // Of a leaf: the bits that make it one, of its size. Items that agree with it in them are such leaves too.
      { F::leaf_bits(item, level) } -> std::same_as<u64>;
      // What a leaf, and a table item, allows. The walk ANDs.
      { F::access(item) } -> std::same_as<Access>;
      { F::table_access(item) } -> std::same_as<Access>;
      // Of a table: the address of the table below.
      { F::table_address(item) } -> std::same_as<u64>;

      // Writing an item. permission() turns an access that is not kNone into bits of a leaf; its errors are map()'s.
      { F::permission(access, features) } -> std::same_as<Result<u64>>;
      // What a leaf allows for which `access` was asked: that, and more where the format has no way to say less.
      { F::granted(access) } -> std::same_as<Access>;
      // The item that the first slot of the entry gets; each further one gets slot_step(level) more. Pre: oa is a multiple of
      // 2^size_lg2, a possible size of the level. Entries of one size that follow each other differ by the same sum.
      { F::make_leaf(oa, level, size_lg2, item) } -> std::same_as<u64>;
      { F::slot_step(level) } -> std::same_as<u64>;
      // Of a leaf: what was given to make_leaf() as its permission, and its accessed and dirty state.
      { F::attributes(item) } -> std::same_as<u64>;
      // The item at `level` that points to the table at `oa`.
      { F::make_table(oa, level, features) } -> std::same_as<u64>;

      // Configurations that the contract tests run with, a range of TableConfig.
      { F::kTestConfigs.begin()->name } -> std::convertible_to<std::string_view>;

      requires !F::kTracksDirty || requires {
        { F::is_dirty(item) } -> std::same_as<bool>;
        { F::make_dirty(item) } -> std::same_as<u64>;
        { F::make_accessed(item) } -> std::same_as<u64>;
        { F::make_clean(item) } -> std::same_as<u64>;
      };
    };

// Whether a table of format F has a feature: known at compile time unless F leaves the choice.
template <PageTableFormat F, Feature Which>
constexpr bool has_feature(Features chosen) {
  if constexpr (F::kForced.has(Which)) return true;
  if constexpr (!F::kSupported.has(Which)) return false;
  return chosen.has(Which);
}

}  // namespace iommufd::pt

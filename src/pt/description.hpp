// SPDX-License-Identifier: BSD-3-Clause
// What the items of a table say, in words that all formats share: for observers that do not know the format. Generic over
// PageTableFormat; a format adds nothing for it.
#pragma once

#include "pt/format.hpp"

namespace iommufd::pt {

struct ItemDescription {
  EntryKind kind = EntryKind::kEmpty;
  u64 address = 0;                // of a leaf: the OA where its entry starts; of a table item: the table below
  Access access = Access::kNone;  // what the item alone allows
  unsigned size_lg2 = 0;          // of a leaf: of its entry
  bool accessed = false, dirty = false;
};

struct FormatDescription {
  std::string_view name;
  unsigned granule_lg2 = 0;
  unsigned index_bits = 0;
  bool tracks_dirty = false;  // items have an accessed and a dirty bit
  unsigned (*hardware_depth)(unsigned top_level) = nullptr;
  ItemDescription (*item)(u64 item, unsigned level) = nullptr;

  [[nodiscard]] constexpr unsigned item_lg2(unsigned level) const { return granule_lg2 + index_bits * level; }
};

// What the bits of an address above those that a table translates are.
enum class AddressExtension : u8 { kZero, kSign };

struct TableDescription {
  const FormatDescription* format = nullptr;  // static
  unsigned va_bits = 0;
  AddressExtension extension = AddressExtension::kZero;
};

template <PageTableFormat F>
constexpr ItemDescription describe_item(u64 item, unsigned level) {
  const EntryKind kind = F::kind(item, level);
  if (kind == EntryKind::kEmpty) return {};
  if (kind == EntryKind::kTable) return {kind, F::table_address(item), F::table_access(item)};
  ItemDescription d{kind, F::output(item, level), F::access(item), F::entry_lg2(item, level)};
  if constexpr (F::kTracksDirty) {
    d.accessed = F::make_accessed(item) == item;
    d.dirty = F::is_dirty(item);
  }
  return d;
}

template <PageTableFormat F>
inline constexpr FormatDescription kFormatDescription{F::kName,
                                                      F::kGranuleLg2,
                                                      F::kIndexBits,
                                                      F::kTracksDirty,
                                                      [](unsigned level) { return F::hardware_depth(level); },
                                                      describe_item<F>};

}  // namespace iommufd::pt

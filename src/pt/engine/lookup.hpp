// SPDX-License-Identifier: BSD-3-Clause
// The hardware's walk, one function per level so that every shift and mask is a constant. Lock-free: races mappers and
// unmappers; a table that is unlinked meanwhile is kept until the walk is over (see table.hpp).
#pragma once

#include <optional>

#include "pt/engine/storage.hpp"
#include "pt/table.hpp"

namespace iommufd::pt {

template <unsigned Level, PageTableFormat F>
inline std::optional<Translation> lookup_at(const Storage<F>& storage, const u64* items, u64 va, Access access) {
  const u64 item = load_item(items[index_of<F>(va, Level)]);
  const EntryKind kind = F::kind(item, Level);
  if constexpr (Level > 0) {
    if (kind == EntryKind::kTable) {
      return lookup_at<Level - 1>(storage, storage.below(item), va, access & F::table_access(item));
    }
  }
  if (kind == EntryKind::kEmpty) return std::nullopt;
  const u64 size = u64{1} << F::entry_lg2(item, Level);
  const u64 offset = va & (size - 1);
  return Translation{PhysAddr{F::output(item, Level) + offset}, access & F::access(item),
                     static_cast<u8>(F::item_lg2(Level)), size - offset};
}

}  // namespace iommufd::pt

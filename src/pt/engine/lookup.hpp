// SPDX-License-Identifier: BSD-3-Clause
// The hardware's walk. Every level has its own code, so that shifts and masks are constants; a walk enters it where the root is.
// Lock-free: races mappers and unmappers; a table that is unlinked meanwhile is kept until the walk is over (see table.hpp).
#pragma once

#include <optional>

#include "pt/engine/storage.hpp"
#include "pt/table.hpp"

namespace iommufd::pt {

template <PageTableFormat F>
inline std::optional<Translation> lookup_from(const Storage<F>& storage, const TopInfo& top, u64 va) {
  std::optional<Translation> found;
  const u64* items = storage.items(top.root.raw());
  Access access = Access::kReadWrite;
  down_from<F>(top.level, [&](auto level) {
    const u64 item = load_item(items[index_of<F>(va, level)]);
    const EntryKind kind = F::kind(item, level);
    if (level > 0 && kind == EntryKind::kTable) {
      items = storage.below(item);
      access = access & F::table_access(item);
      return Walk::kDown;
    }
    if (kind == EntryKind::kLeaf) {
      const u64 size = u64{1} << F::entry_lg2(item, level);
      const u64 offset = va & (size - 1);
      found.emplace(PhysAddr{F::output(item, level) + offset}, access & F::access(item),
                    static_cast<u8>(F::item_lg2(level)), size - offset);
    }
    return Walk::kEnd;
  });
  return found;
}

}  // namespace iommufd::pt

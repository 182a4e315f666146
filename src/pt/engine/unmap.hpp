// SPDX-License-Identifier: BSD-3-Clause
// Removing whole entries (spec page-table-formats 8.4): from the start of the range on, until it ends or a hole comes.
// A table is unlinked when the range covers all of it and the walk below came to its end, so it is empty then.
#pragma once

#include "pt/engine/storage.hpp"

namespace iommufd::pt {

template <PageTableFormat F>
class Unmapper {
 public:
  Unmapper(const Storage<F>& storage, Gather& gather, u64 va, u64 last)
      : storage_(storage), gather_(gather), va_(va), last_(last) {}

  // Bytes removed. Pre: the root covers the range.
  u64 run(const TopInfo& top) {
    const u64 start = va_;
    clear(storage_.items(top.root.raw()), top.level);
    const u64 removed = va_ - start;
    gather_.add_range(start, removed);
    return removed;
  }

 private:
  enum class Stop { kTableEnd, kRangeEnd, kHole };

  // Clears from va_ on; va_ moves along.
  Stop clear(u64* items, unsigned level) {
    const u64 item_bytes = item_size<F>(level);
    u64 va = va_;
    Stop stop = Stop::kTableEnd;
    for (unsigned i = index_of<F>(va, level); i < kTableItems<F> && stop == Stop::kTableEnd;) {
      const u64 item = load_item(items[i]);
      const EntryKind kind = F::kind(item, level);
      if (kind == EntryKind::kLeaf) {
        const unsigned size_lg2 = F::entry_lg2(item, level);
        const u64 size = u64{1} << size_lg2;
        if ((va & (size - 1)) != 0) {  // the range starts inside the entry
          stop = Stop::kHole;
          break;
        }
        const unsigned end = i + (1u << (size_lg2 - F::item_lg2(level)));
        for (; i < end; ++i) store_item(items[i], 0);
        if (last_ - va < size) stop = Stop::kRangeEnd;
        va += size;
      } else if (kind == EntryKind::kTable) {
        const bool covered = (va & (item_bytes - 1)) == 0 && last_ - va >= item_bytes - 1;
        va_ = va;
        stop = clear(storage_.below(item), level - 1);
        va = va_;
        if (covered && stop != Stop::kHole) {
          store_item(items[i], 0);
          gather_.add_table(PhysAddr{F::table_address(item)});
        }
        ++i;
      } else {
        stop = Stop::kHole;
      }
    }
    va_ = va;
    return stop;
  }

  const Storage<F>& storage_;
  Gather& gather_;
  u64 va_;
  const u64 last_;
};

}  // namespace iommufd::pt

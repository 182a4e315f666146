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
  // True when the walk came to the end of the table or of the range, false at a hole. va_ moves along.
  bool clear(u64* items, unsigned level) {
    for (unsigned i = index_of<F>(va_, level); i < kTableItems<F> && !done_;) {
      const u64 item = load_item(items[i]);
      switch (F::kind(item, level)) {
        case EntryKind::kEmpty:
          return false;
        case EntryKind::kLeaf: {
          const unsigned size_lg2 = F::entry_lg2(item, level);
          const u64 size = u64{1} << size_lg2;
          if ((va_ & (size - 1)) != 0) return false;  // the range starts inside the entry
          const unsigned end = i + (1u << (size_lg2 - F::item_lg2(level)));
          for (; i < end; ++i) store_item(items[i], 0);
          done_ = last_ - va_ < size;
          va_ += size;
          break;
        }
        case EntryKind::kTable: {
          const u64 size = item_size<F>(level);
          const bool covered = (va_ & (size - 1)) == 0 && last_ - va_ >= size - 1;
          if (!clear(storage_.below(item), level - 1)) return false;
          if (covered) {
            store_item(items[i], 0);
            gather_.add_table(PhysAddr{F::table_address(item)});
          }
          ++i;
          break;
        }
      }
    }
    return true;
  }

  const Storage<F>& storage_;
  Gather& gather_;
  u64 va_;
  const u64 last_;
  bool done_ = false;
};

}  // namespace iommufd::pt

// SPDX-License-Identifier: BSD-3-Clause
// Removing whole entries (spec page-table-formats 8.4): from the start of the range on, until it ends or a hole comes.
// A table is unlinked when the range covers all of it and the walk below came to its end, so it is empty then.
#pragma once

#include "pt/engine/run.hpp"
#include "pt/engine/storage.hpp"
#include "pt/table.hpp"

namespace iommufd::pt {

template <PageTableFormat F>
class Unmapper {
 public:
  Unmapper(const Storage<F>& storage, Gather& gather, u64 va, u64 last)
      : storage_(storage), gather_(gather), va_(va), last_(last) {}

  // Bytes removed. Pre: the root covers the range.
  u64 run(const TopInfo& top) {
    const u64 start = va_;
    with_top_level<F>(top.level, [&](auto level) { enter<level>(storage_.items(top.root.raw())); });
    const u64 removed = va_ - start;
    gather_.add_range(start, removed);
    return removed;
  }

 private:
  // Goes straight down to the smallest table that has all of the range.
  template <unsigned Level>
  void enter(u64* items) {
    if constexpr (Level > 0) {
      constexpr u64 size = item_size<F>(Level);
      if ((va_ ^ last_) < size && last_ - va_ != size - 1) {
        const u64 item = load_item(items[index_of<F>(va_, Level)]);
        if (F::kind(item, Level) == EntryKind::kTable) return enter<Level - 1>(storage_.below(item));
      }
    }
    clear<Level>(items);
  }

  // Clears the part of a table that the range covers, from va_ on; va_ moves along, once per table and not per leaf.
  // False at a hole.
  template <unsigned Level>
  bool clear(u64* items) {
    constexpr u64 size = item_size<F>(Level);
    const unsigned first = index_of<F>(va_, Level);
    const u64 more = (last_ - (va_ & ~(size - 1))) >> F::item_lg2(Level);  // items of the range after the first
    const unsigned end = first + static_cast<unsigned>(std::min<u64>(more, kTableItems<F> - 1 - first)) + 1;
    if ((va_ & (size - 1)) != 0 && F::kind(load_item(items[first]), Level) == EntryKind::kLeaf) return false;

    unsigned known = first;  // the item that va_ is in; NOLINT(misc-const-correctness): at level 0 it stays
    unsigned i = first;
    while (i < end) {
      const u64 item = load_item(items[i]);
      const EntryKind kind = F::kind(item, Level);
      if (kind == EntryKind::kLeaf) {
        const unsigned slots = 1u << (F::entry_lg2(item, Level) - F::item_lg2(Level));
        if ((i & (slots - 1)) != 0) break;  // the range starts inside the entry
        i += clear_entries(items + i, end - i, item, Level, slots);
        continue;
      }
      if constexpr (Level > 0) {
        if (kind == EntryKind::kTable) {
          va_ += u64{i - known} * size;
          known = i;
          const bool covered = (va_ & (size - 1)) == 0 && last_ - va_ >= size - 1;
          if (!clear<Level - 1>(storage_.below(item))) return false;
          if (covered) {
            store_item(items[i], 0);
            gather_.add_table(PhysAddr{F::table_address(item)});
          }
          known = ++i;  // the walk below left va_ at its end
          continue;
        }
      }
      break;
    }
    va_ += u64{i - known} * size;
    return i >= end;
  }

  // Clears the entry of `slots` items that begins with `item`, and those of the same size that follow it in `count` items. Returns
  // the number of items.
  static unsigned clear_entries(u64* items, unsigned count, u64 item, unsigned level, unsigned slots) {
    const unsigned whole = count & ~(slots - 1);
    if (whole > slots && whole > Block::kItems) {
      const unsigned cleared = clear_alike(items, whole, item, F::leaf_bits(item, level));
      if (cleared >= slots) return cleared;
    }
    if (slots == 1)
      store_item(*items, 0);
    else
      clear_run(items, slots);
    return slots;
  }

  const Storage<F>& storage_;
  Gather& gather_;
  u64 va_;
  const u64 last_;
};

}  // namespace iommufd::pt

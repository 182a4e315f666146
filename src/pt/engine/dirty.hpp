// SPDX-License-Identifier: BSD-3-Clause
// Dirty entries (spec page-table-formats 8.6). The bit is set by devices at any time, so it is cleaned and set with
// compare-exchange. The ranges that are reported repeat the kernel's walker, which user space depends on
// (iommufd-hwpt 7.5): an entry of n items reports from the visited item to its last item, without that one.
#pragma once

#include <span>

#include "pt/engine/refuse.hpp"
#include "pt/engine/storage.hpp"
#include "pt/table.hpp"

namespace iommufd::pt {

template <PageTableFormat F>
  requires F::kTracksDirty
class DirtyWalk {
 public:
  DirtyWalk(const Storage<F>& storage, DirtyMode mode, DirtySink& sink, Gather& gather, u64 va, u64 last)
      : storage_(storage), mode_(mode), sink_(sink), gather_(gather), va_(va), last_(last) {}

  // Pre: the root covers the range.
  void run(const TopInfo& top) { visit(storage_.items(top.root.raw()), top.level); }

 private:
  void visit(u64* items, unsigned level) {
    const u64 size = item_size<F>(level);
    for (unsigned i = index_of<F>(va_, level); i < kTableItems<F> && !done_;) {
      const u64 item = load_item(items[i]);
      const EntryKind kind = F::kind(item, level);
      if (kind == EntryKind::kTable) {
        visit(storage_.below(item), level - 1);
        ++i;
        continue;
      }
      unsigned end = i + 1;
      if (kind == EntryKind::kLeaf) end = visit_leaf(items, i, level);
      const u64 rest = u64{end - i} * size - (va_ & (size - 1));
      done_ = last_ - va_ < rest;
      va_ += rest;
      i = end;
    }
  }

  // Returns the index after the entry that item `i` is part of.
  unsigned visit_leaf(u64* items, unsigned i, unsigned level) {
    const unsigned count = 1u << (F::entry_lg2(load_item(items[i]), level) - F::item_lg2(level));
    const unsigned first = i & ~(count - 1);
    const unsigned entry_last = first + count - 1;
    const std::span<u64> entry(items + first, count);
    if (std::ranges::none_of(entry, [](const u64& item) { return F::is_dirty(load_item(item)); })) {
      return entry_last + 1;
    }
    const unsigned reported = count == 1 ? 1 : std::min(entry_last, range_end(i, level)) - i;
    const u64 length = reported * item_size<F>(level);
    sink_.dirty(Iova{va_}, length);
    if (mode_ == DirtyMode::kReadAndClear) {
      for (u64& item : entry) clean(item);
      gather_.add_range(va_, length);
    }
    return entry_last + 1;
  }

  // Index after the last item of the range in the table that item `i` at va_ is in.
  unsigned range_end(unsigned i, unsigned level) const {
    const unsigned shift = F::item_lg2(level);
    const u64 items_left = (last_ >> shift) - (va_ >> shift) + 1;
    return i + static_cast<unsigned>(std::min<u64>(items_left, kTableItems<F> - i));
  }

  static void clean(u64& item) {
    u64 seen = load_item(item);
    while (F::is_dirty(seen) && !swap_item(item, seen, F::make_clean(seen))) {
    }
  }

  const Storage<F>& storage_;
  const DirtyMode mode_;
  DirtySink& sink_;
  Gather& gather_;
  u64 va_;
  const u64 last_;
  bool done_ = false;
};

// Marks the item that translates `va`. Pre: the root covers it. Errors: kNoEnt, kAgain.
template <PageTableFormat F>
  requires F::kTracksDirty
Result<void> mark_dirty(const Storage<F>& storage, const TopInfo& top, u64 va) {
  u64* items = storage.items(top.root.raw());
  for (unsigned level = top.level;; --level) {
    u64& slot = items[index_of<F>(va, level)];
    u64 seen = load_item(slot);
    switch (F::kind(seen, level)) {
      case EntryKind::kEmpty: return Err(Errno::kNoEnt);
      case EntryKind::kTable: items = storage.below(seen); break;
      case EntryKind::kLeaf: {
        const u64 marked = F::make_dirty(seen);
        if (seen == marked || swap_item(slot, seen, marked) || seen == marked) return {};
        return Err(Errno::kAgain);
      }
    }
  }
}

}  // namespace iommufd::pt

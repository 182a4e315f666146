// SPDX-License-Identifier: BSD-3-Clause
// Dirty items (spec page-table-formats 8.6). The bit is set by devices at any time, so it is cleaned and set with
// compare-exchange. An entry of several items is dirty item by item: what is reported is what was written, no more and,
// unlike Linux 7.0's walker (iommufd-hwpt 7.5), no less.
#pragma once

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
    for (unsigned i = index_of<F>(va_, level); i < kTableItems<F> && !done_; ++i) {
      const u64 item = load_item(items[i]);
      const EntryKind kind = F::kind(item, level);
      if (kind == EntryKind::kTable) {
        visit(storage_.below(item), level - 1);
        continue;
      }
      const u64 rest = size - (va_ & (size - 1));  // bytes of the item from va_ on
      const u64 left = last_ - va_;                // bytes of the range after the one at va_
      if (kind == EntryKind::kLeaf && F::is_dirty(item)) report(items[i], std::min(rest - 1, left) + 1);
      done_ = left < rest;
      va_ += rest;
    }
  }

  void report(u64& item, u64 length) {
    sink_.dirty(Iova{va_}, length);
    if (mode_ == DirtyMode::kReadOnly) return;
    clean(item);
    gather_.add_range(va_, length);
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

// Replaces the item that translates `va` by change(item). Pre: the root covers it. Errors: kNoEnt, kAgain.
template <PageTableFormat F, class Change>
Result<void> change_leaf(const Storage<F>& storage, const TopInfo& top, u64 va, Change&& change) {
  u64* items = storage.items(top.root.raw());
  for (unsigned level = top.level;; --level) {
    u64& slot = items[index_of<F>(va, level)];
    u64 seen = load_item(slot);
    switch (F::kind(seen, level)) {
      case EntryKind::kEmpty: return Err(Errno::kNoEnt);
      case EntryKind::kTable: items = storage.below(seen); break;
      case EntryKind::kLeaf: {
        const u64 changed = change(seen);
        if (seen == changed || swap_item(slot, seen, changed) || seen == changed) return {};
        return Err(Errno::kAgain);
      }
    }
  }
}

}  // namespace iommufd::pt

// SPDX-License-Identifier: BSD-3-Clause
// Where the tables of one page table are: from a physical address to items, and linking new tables. Items are shared
// with walkers that take no lock, so every access is atomic: stores that publish release, loads that follow acquire.
#pragma once

#include <atomic>

#include "pt/engine/geometry.hpp"
#include "pt/table_pages.hpp"

namespace iommufd::pt {

inline u64 load_item(const u64& item) {
  return std::atomic_ref<u64>(const_cast<u64&>(item)).load(std::memory_order_acquire);
}
inline void store_item(u64& item, u64 value) { std::atomic_ref<u64>(item).store(value, std::memory_order_release); }
// Replaces `expected`, or loads into it what is there instead.
inline bool swap_item(u64& item, u64& expected, u64 value) {
  return std::atomic_ref<u64>(item).compare_exchange_strong(expected, value, std::memory_order_acq_rel,
                                                            std::memory_order_acquire);
}

template <PageTableFormat F>
class Storage {
 public:
  static_assert(kTableItems<F> == kItemsPerPage, "a table is one page of the arena");

  Storage(TableArena& arena, Features features) : arena_(arena), memory_(arena.memory()), features_(features) {}

  [[nodiscard]] u64* items(u64 table) const { return memory_.at(table); }
  // The table that a table item points to.
  [[nodiscard]] u64* below(u64 item) const { return items(F::table_address(item)); }
  [[nodiscard]] TableArena& arena() const { return arena_; }
  [[nodiscard]] Features features() const { return features_; }

  // Links a new table into the empty item `slot` of a table at `level`. A parallel caller may win: then its item is the
  // result, which may even be a leaf. Errors: kNoMem.
  Result<u64> link_table(u64& slot, unsigned level) {
    const PhysAddr page = IOMMUFD_TRY(arena_.allocate());
    const u64 item = F::make_table(page.raw(), level, features_);
    u64 seen = 0;
    if (swap_item(slot, seen, item)) return item;
    arena_.free(page);
    return seen;
  }

  // Puts all tables below `items` into `pages`; leaves are ignored. The items stay as they are.
  void collect(const u64* items, unsigned level, TablePageList& pages) const {
    if (level == 0) return;
    for (unsigned i = 0; i < kTableItems<F>; ++i) {
      const u64 item = load_item(items[i]);
      if (F::kind(item, level) != EntryKind::kTable) continue;
      collect(below(item), level - 1, pages);
      arena_.push(pages, PhysAddr{F::table_address(item)});
    }
  }

 private:
  TableArena& arena_;
  const TableMemory memory_;
  const Features features_;
};

}  // namespace iommufd::pt

// SPDX-License-Identifier: BSD-3-Clause
// Installing leaves (spec page-table-formats 8.1 to 8.3). A range is cut into runs of equal entries; for each table that
// a run touches, one walk from the root and one loop over its items. Every item of an entry translates by itself, so a
// walker never sees half of one; an entry is stored only when all its slots are known to be free.
#pragma once

#include <span>

#include "pt/engine/refuse.hpp"
#include "pt/engine/run.hpp"
#include "pt/engine/storage.hpp"
#include "pt/table.hpp"

namespace iommufd::pt {

// Fast path for one entry of one item, in a table at level `target`: straight down, each level a constant. False, and nothing done,
// when a table is missing or something is in the way: the general path finds out what.
template <unsigned Level, PageTableFormat F>
inline bool map_single(const Storage<F>& storage, u64* items, u64 va, u64 leaf, auto target) {
  u64& slot = items[index_of<F>(va, Level)];
  const u64 item = load_item(slot);
  if (Level == target) {
    if (item != 0) return false;
    store_item(slot, leaf);
    return true;
  }
  if constexpr (Level > 0) {
    if (F::kind(item, Level) == EntryKind::kTable)
      return map_single<Level - 1>(storage, storage.below(item), va, leaf, target);
  }
  return false;
}

template <PageTableFormat F>
class Mapper {
 public:
  // `permission` is what F::permission() made. The range has been checked; `mapped` counts what is installed.
  Mapper(Storage<F>& storage, u64 sizes, u64 permission, u64& mapped, Gather& gather)
      : storage_(storage), sizes_(sizes), permission_(permission), mapped_(mapped), gather_(gather) {}

  // Maps `length` bytes; `run` is how they begin. Pre: `top` covers the range and is not below the level of `run`.
  Result<void> map(const TopInfo& top, u64 va, u64 oa, u64 length, Run run) {
    for (;;) {
      const unsigned level = level_of<F>(run.size_lg2);
      u64* items = IOMMUFD_TRY(descend(top, va, level));
      const u64 before = mapped_;
      const u64 stored = IOMMUFD_TRY(fill(items, level, va, oa, run));
      const u64 bytes = mapped_ - before;
      if (bytes == length) return {};
      va += bytes;
      oa += bytes;
      length -= bytes;
      run.entries -= stored;
      if (run.entries == 0) run = plan_run(sizes_, va, oa, length);
      if (run.entries == 0) return refuse(Errno::kNxio, "length", length, "must be a multiple of a page size");
    }
  }

 private:
  // The table at `level` that translates `va`; missing ones are made.
  Result<u64*> descend(const TopInfo& top, u64 va, unsigned level) {
    u64* items = storage_.items(top.root.raw());
    for (unsigned at = top.level; at > level; --at) {
      u64& slot = items[index_of<F>(va, at)];
      u64 item = load_item(slot);
      if (F::kind(item, at) == EntryKind::kEmpty) item = IOMMUFD_TRY(storage_.link_table(slot, at));
      if (F::kind(item, at) == EntryKind::kLeaf) return in_use(va);
      items = storage_.below(item);
    }
    return items;
  }

  // Stores entries of the run up to the end of the table; returns how many.
  Result<u64> fill(u64* items, unsigned level, u64 va, u64 oa, const Run& run) {
    const unsigned first = index_of<F>(va, level);
    const unsigned per_entry = 1u << (run.size_lg2 - F::item_lg2(level));
    const unsigned entries = static_cast<unsigned>(std::min<u64>(run.entries, (kTableItems<F> - first) / per_entry));
    const std::span<u64> slots(items + first, std::size_t{entries} * per_entry);
    if (!all_empty(slots.data(), entries * per_entry)) [[unlikely]]
      return fill_used(slots, level, va, oa, run.size_lg2);
    store(slots, level, oa, run.size_lg2);
    mapped_ += u64{entries} << run.size_lg2;
    return entries;
  }

  // The same, entry by entry.
  [[gnu::noinline]] Result<u64> fill_used(std::span<u64> slots, unsigned level, u64 va, u64 oa, unsigned size_lg2) {
    const std::size_t per_entry = std::size_t{1} << (size_lg2 - F::item_lg2(level));
    u64 entries = 0;
    for (; !slots.empty(); slots = slots.subspan(per_entry), ++entries) {
      const u64 at = entries << size_lg2;
      IOMMUFD_TRY(make_room(slots.first(per_entry), level, va + at));
      store(slots.first(per_entry), level, oa + at, size_lg2);
      mapped_ += u64{1} << size_lg2;
    }
    return entries;
  }

  // Stores as many entries as there are slots.
  void store(std::span<u64> slots, unsigned level, u64 oa, unsigned size_lg2) {
    const unsigned per_entry = 1u << (size_lg2 - F::item_lg2(level));
    const u64 step = F::make_leaf(u64{1} << size_lg2, level, size_lg2, 0) - F::make_leaf(0, level, size_lg2, 0);
    const u64 slot_step = per_entry == 1 ? step : F::slot_step(level);
    u64 leaf = F::make_leaf(oa, level, size_lg2, permission_);
    const unsigned count = static_cast<unsigned>(slots.size());
    if (per_entry * slot_step == step) return store_run(slots.data(), count, leaf, slot_step);
    if (per_entry % Block::kItems == 0) return store_entries(slots.data(), count, per_entry, leaf, step, slot_step);
    for (unsigned i = 0; i < count; i += per_entry, leaf += step) store_run(&slots[i], per_entry, leaf, slot_step);
  }

  // Unlinks tables without leaves from the slots of an entry at `va`. Nothing changes when there is a leaf.
  [[gnu::noinline]] Result<void> make_room(std::span<u64> slots, unsigned level, u64 va) {
    for (const u64& slot : slots) {
      if (has_leaf(load_item(slot), level)) return in_use(va);
    }
    TablePageList tables;
    for (u64& slot : slots) {
      const u64 item = load_item(slot);
      if (F::kind(item, level) == EntryKind::kTable) {
        store_item(slot, 0);
        storage_.collect(storage_.below(item), level - 1, tables);
        storage_.arena().push(tables, PhysAddr{F::table_address(item)});
        gather_.add_range(va, item_size<F>(level));
      }
      va += item_size<F>(level);
    }
    gather_.add_tables(tables);
    return {};
  }

  bool has_leaf(u64 item, unsigned level) const {
    const EntryKind kind = F::kind(item, level);
    if (kind != EntryKind::kTable) return kind == EntryKind::kLeaf;
    const std::span<const u64> items(storage_.below(item), kTableItems<F>);
    return std::ranges::any_of(items, [&](const u64& i) { return has_leaf(load_item(i), level - 1); });
  }

  static Err in_use(u64 va) { return refuse(F::kInUse, "iova", va, "must not be mapped yet"); }

  Storage<F>& storage_;
  const u64 sizes_;
  const u64 permission_;
  u64& mapped_;
  Gather& gather_;
};

}  // namespace iommufd::pt

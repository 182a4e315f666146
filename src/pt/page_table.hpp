// SPDX-License-Identifier: BSD-3-Clause
// A page table of one format. All formats share this class and the algorithms in engine/; a format adds bits only
// (format.hpp). Spec: page-table-formats 8.
//
// Invariants
// - Root address and level share one word (level in the low 3 bits), so that a walker gets a consistent pair. The root
//   only grows, and an old root stays linked at item 0 of the next one.
// - Tables are linked complete and zeroed (release), followed with acquire, unlinked before they are gathered.
// - Failed calls leave installed entries and linked tables where they are; nothing is lost but what the caller unmaps.
// Lock order: top_mu_ (kPtTop) only while the root grows; then the arena's.
#pragma once

#include <atomic>
#include <memory>
#include <type_traits>

#include "base/assert.hpp"
#include "base/rollback.hpp"
#include "base/sync.hpp"
#include "pt/engine/cut.hpp"
#include "pt/engine/dirty.hpp"
#include "pt/engine/lookup.hpp"
#include "pt/engine/map.hpp"
#include "pt/engine/unmap.hpp"
#include "pt/table.hpp"

namespace iommufd::pt {

template <PageTableFormat F>
class PageTable final : public Table {
 public:
  // Errors in order of check (spec 12): kInval (va_bits, oa_bits), F::kBadLevel, kOpNotSupp (features), kInval (sign
  // extension of all 64 bits), kOpNotSupp (fixed root smaller than va_bits), kInval (no page size left), kNoMem.
  static Result<std::unique_ptr<PageTable>> create(TableArena& arena, const TableConfig& config);
  // Frees all tables. Pre: no walker is left.
  ~PageTable() override;

  Result<void> map(Iova iova, PhysAddr pa, u64 length, Access access, u64& mapped, Gather& gather) override;
  u64 unmap(Iova iova, u64 length, Gather& gather) override;
  Result<void> cut(Iova at, Gather& gather) override;
  [[nodiscard]] std::optional<Translation> lookup(Iova iova) const noexcept override;
  [[nodiscard]] bool tracks_dirty() const noexcept override { return F::kTracksDirty; }
  Result<void> read_and_clear_dirty(Iova iova, u64 length, DirtyMode mode, DirtySink& sink, Gather& gather) override;
  Result<void> set_dirty(Iova iova) noexcept override;
  Result<void> record_write(Iova iova) noexcept override;
  [[nodiscard]] TopInfo top() const noexcept override { return unpack(top_.load(std::memory_order_acquire)); }
  [[nodiscard]] TableDescription describe() const noexcept override {
    const bool extend = has_feature<F, Feature::kSignExtend>(storage_.features());
    return {&kFormatDescription<F>, va_bits_, extend ? AddressExtension::kSign : AddressExtension::kZero};
  }
  void for_each_table(const std::function<void(const TableView&)>& visit) const override;

 private:
  static constexpr u64 kLevelMask = 7;
  static TopInfo unpack(u64 word) { return {PhysAddr{word & ~kLevelMask}, static_cast<unsigned>(word & kLevelMask)}; }
  static u64 pack(const TopInfo& top) { return top.root.raw() | top.level; }

  PageTable(TableArena& arena, const TableConfig& config, PhysAddr root);

  // A root that does not grow covers va_bits from the start.
  [[nodiscard]] bool covers(unsigned level, u64 va, u64 last) const {
    const bool grows = has_feature<F, Feature::kDynamicTop>(storage_.features());
    const unsigned bits = grows ? covered_bits<F>(level, va_bits_) : va_bits_;
    return in_space(va, last, bits, F::kSupported.has(Feature::kSignExtend) ? below_ : 0);
  }
  // The last address of a range that the present root covers. Errors: kInval, kOverflow, kRange.
  [[nodiscard]] Result<u64> check_range(const TopInfo& top, u64 va, u64 length) const;
  // One entry of one item, in a table at `level` that exists. False, and nothing done, when there is more to it.
  [[nodiscard]] bool map_one(u64 va, u64 last, u64 leaf, auto level) {
    const TopInfo root = top();
    if (!covers(root.level, va, last)) [[unlikely]]
      return false;
    return with_top_level<F>(root.level, [&](auto top_level) {
      return map_single<top_level>(storage_, storage_.items(root.root.raw()), va, leaf, level);
    });
  }
  // map() but for what it does itself. Errors: kNxio, then those on the way.
  [[gnu::noinline]] Result<void> map_range(u64 va, u64 oa, u64 length, u64 permission, u64& mapped, Gather& gather);
  // A root that covers [va, last] and is at least at `level`. Errors: kRange, kNoMem.
  Result<TopInfo> root_for(u64 va, u64 last, unsigned level) IOMMUFD_EXCLUDES(top_mu_);
  Result<void> grow(const TopInfo& old, u64 va, u64 last, unsigned level) IOMMUFD_EXCLUDES(top_mu_);
  void visit_tables(const std::function<void(const TableView&)>& visit, const TableView& table) const;

  Storage<F> storage_;
  const unsigned va_bits_;
  const u64 below_;  // addresses of the upper half: in_space()
  const unsigned oa_bits_;
  TopListener* const listener_;
  std::atomic<u64> top_;
  Mutex top_mu_{LockRank::kPtTop};  // held while top_ changes
};

template <PageTableFormat F>
constexpr IovaRange aperture_of(const TableConfig& config) {
  const unsigned bits = config.va_bits - (has_feature<F, Feature::kSignExtend>(config.features) ? 1 : 0);
  return {0, ~u64{0} >> (64 - bits)};
}

template <PageTableFormat F>
auto PageTable<F>::create(TableArena& arena, const TableConfig& config) -> Result<std::unique_ptr<PageTable>> {
  if (config.va_bits == 0 || config.va_bits > F::kMaxVaBits) return Err(Errno::kInval);
  if (config.oa_bits == 0 || config.oa_bits > F::kMaxOaBits) return Err(Errno::kInval);
  if (config.top_level < F::kMinTopLevel || config.top_level > F::kMaxTopLevel) return Err(F::kBadLevel);
  if (!F::kSupported.contains(config.features) || !config.features.contains(F::kForced)) {
    return Err(Errno::kOpNotSupp);
  }
  const bool grows = has_feature<F, Feature::kDynamicTop>(config.features);
  if (has_feature<F, Feature::kSignExtend>(config.features) && (grows || config.va_bits == 64)) {
    return Err(Errno::kInval);
  }
  if (!grows && covered_bits<F>(config.top_level, config.va_bits) < config.va_bits) return Err(Errno::kOpNotSupp);
  if (possible_sizes<F>(config) == 0) return Err(Errno::kInval);
  const PhysAddr root = IOMMUFD_TRY(arena.allocate());
  Rollback undo{[&] { arena.free(root); }};
  std::unique_ptr<PageTable> table(new PageTable(arena, config, root));
  undo.commit();
  return table;
}

template <PageTableFormat F>
PageTable<F>::PageTable(TableArena& arena, const TableConfig& config, PhysAddr root)
    : Table(possible_sizes<F>(config), aperture_of<F>(config)),
      storage_(arena, config.features),
      va_bits_(config.va_bits),
      below_(has_feature<F, Feature::kSignExtend>(config.features) ? u64{1} << (config.va_bits - 1) : 0),
      oa_bits_(config.oa_bits),
      listener_(config.listener),
      top_(pack({root, config.top_level})) {}

template <PageTableFormat F>
PageTable<F>::~PageTable() {
  const TopInfo root = top();
  TablePageList pages;
  storage_.collect(storage_.items(root.root.raw()), root.level, pages);
  storage_.arena().push(pages, root.root);
  storage_.arena().free(pages);
}

template <PageTableFormat F>
Result<void> PageTable<F>::map(Iova iova, PhysAddr pa, u64 length, Access access, u64& mapped, Gather& gather) {
  mapped = 0;
  const u64 va = iova.raw();
  const u64 oa = pa.raw();
  u64 last = 0;
  if ((access & Access::kReadWrite) == Access::kNone) [[unlikely]]
    return refuse(Errno::kInval, "access", static_cast<u64>(access), "must allow reads or writes");
  if (oa >> oa_bits_ != 0) [[unlikely]]
    return refuse(Errno::kRange, "paddr", oa, "must fit the output address");
  const Result<u64> permission = F::permission(access, storage_.features());
  if (!permission) [[unlikely]] {
    return refuse(permission.error(), "access", static_cast<u64>(access), "must be one the format can express");
  }
  if (length == 0) [[unlikely]]
    return refuse(Errno::kInval, "length", length, "must not be 0");
  if (__builtin_add_overflow(va, length - 1, &last)) [[unlikely]] {
    return refuse(Errno::kOverflow, "length", length, "must not reach past the end of the address space");
  }

  constexpr u64 granule = u64{1} << F::kGranuleLg2;
  if (length == granule && (pgsize_bitmap() & granule) != 0 && ((va | oa) & (granule - 1)) == 0) [[likely]] {
    const u64 leaf = F::make_leaf(oa, 0, F::kGranuleLg2, *permission);
    if (map_one(va, last, leaf, std::integral_constant<unsigned, 0>{})) [[likely]] {
      mapped = length;
      return {};
    }
  }
  return map_range(va, oa, length, *permission, mapped, gather);
}

template <PageTableFormat F>
Result<void> PageTable<F>::map_range(u64 va, u64 oa, u64 length, u64 permission, u64& mapped, Gather& gather) {
  const Run run = plan_run(pgsize_bitmap(), va, oa, length);
  if (run.entries == 0) return refuse(Errno::kNxio, "iova", va, "no page size fits address, length and paddr");
  const u64 last = va + (length - 1);
  const unsigned level = level_of<F>(run.size_lg2);
  if (length == u64{1} << run.size_lg2 && run.size_lg2 == F::item_lg2(level) &&
      map_one(va, last, F::make_leaf(oa, level, run.size_lg2, permission), level)) {
    mapped = length;
    return {};
  }
  const TopInfo root = IOMMUFD_TRY(root_for(va, last, level));
  return Mapper<F>(storage_, pgsize_bitmap(), permission, mapped, gather).map(root, va, oa, length, run);
}

template <PageTableFormat F>
Result<u64> PageTable<F>::check_range(const TopInfo& top, u64 va, u64 length) const {
  u64 last = 0;
  if (length == 0) return refuse(Errno::kInval, "length", length, "must not be 0");
  if (__builtin_add_overflow(va, length - 1, &last)) return refuse(Errno::kOverflow, "length", length, "must not wrap");
  if (!covers(top.level, va, last)) return refuse(Errno::kRange, "iova", va, "must be inside the table");
  return last;
}

template <PageTableFormat F>
u64 PageTable<F>::unmap(Iova iova, u64 length, Gather& gather) {
  const TopInfo root = top();
  const Result<u64> last = check_range(root, iova.raw(), length);
  if (!last) return 0;
  return Unmapper<F>(storage_, gather, iova.raw(), *last).run(root);
}

template <PageTableFormat F>
Result<void> PageTable<F>::cut(Iova at, Gather& gather) {
  const u64 va = at.raw();
  if ((va & ((pgsize_bitmap() & -pgsize_bitmap()) - 1)) != 0)
    return refuse(Errno::kInval, "iova", va, "must be a multiple of the smallest page size");
  const TopInfo root = top();
  if (!covers(root.level, va, va)) return {};
  return Cutter<F>(storage_, pgsize_bitmap(), gather).run(root, va);
}

template <PageTableFormat F>
std::optional<Translation> PageTable<F>::lookup(Iova iova) const noexcept {
  const TopInfo root = top();
  if (!covers(root.level, iova.raw(), iova.raw())) [[unlikely]]
    return std::nullopt;
  return lookup_from(storage_, root, iova.raw());
}

template <PageTableFormat F>
Result<void> PageTable<F>::read_and_clear_dirty(Iova iova, u64 length, DirtyMode mode, DirtySink& sink,
                                                Gather& gather) {
  const TopInfo root = top();
  const u64 last = IOMMUFD_TRY(check_range(root, iova.raw(), length));
  if constexpr (F::kTracksDirty) DirtyWalk<F>(storage_, mode, sink, gather, iova.raw(), last).run(root);
  return {};
}

template <PageTableFormat F>
Result<void> PageTable<F>::set_dirty(Iova iova) noexcept {
  const TopInfo root = top();
  if (!covers(root.level, iova.raw(), iova.raw())) return Err(Errno::kRange);
  if constexpr (F::kTracksDirty) {
    return change_leaf(storage_, root, iova.raw(), [](u64 item) { return F::make_dirty(item); });
  }
  return Err(Errno::kNoEnt);
}

template <PageTableFormat F>
Result<void> PageTable<F>::record_write(Iova iova) noexcept {
  const TopInfo root = top();
  if (!covers(root.level, iova.raw(), iova.raw())) return Err(Errno::kRange);
  if constexpr (F::kTracksDirty) {
    for (;;) {
      const Result<void> done =
          change_leaf(storage_, root, iova.raw(), [](u64 item) { return F::make_dirty(F::make_accessed(item)); });
      if (done || done.error() != Errno::kAgain) return done;
    }
  }
  return Err(Errno::kNoEnt);
}

template <PageTableFormat F>
Result<TopInfo> PageTable<F>::root_for(u64 va, u64 last, unsigned level) {
  for (;;) {
    const TopInfo root = top();
    if (level <= root.level && covers(root.level, va, last)) return root;
    if (!has_feature<F, Feature::kDynamicTop>(storage_.features())) {
      return refuse(Errno::kRange, "iova", va, "must be inside the aperture");
    }
    IOMMUFD_TRY(grow(root, va, last, level));
  }
}

// New roots are built outside the lock, each linking to the one before at item 0. When somebody else has grown the root
// meanwhile they are dropped, and the caller looks again.
template <PageTableFormat F>
Result<void> PageTable<F>::grow(const TopInfo& old, u64 va, u64 last, unsigned level) {
  TableArena& arena = storage_.arena();
  TablePageList pages;
  Rollback drop{[&] { arena.free(pages); }};
  TopInfo next = old;
  while (next.level < level || !covers(next.level, va, last)) {
    ++next.level;
    if (next.level > F::kMaxTopLevel || F::item_lg2(next.level) >= va_bits_) {
      return refuse(Errno::kRange, "iova", va, "must be inside the aperture");
    }
    const PhysAddr page = IOMMUFD_TRY(arena.allocate());
    arena.push(pages, page);
    store_item(arena.items(page)[0], F::make_table(next.root.raw(), next.level, storage_.features()));
    next.root = page;
  }
  const MutexLock lock(top_mu_);
  if (top() != old) return {};
  if (listener_ != nullptr) listener_->change_top(next);
  top_.store(pack(next), std::memory_order_release);
  drop.commit();
  return {};
}

template <PageTableFormat F>
void PageTable<F>::for_each_table(const std::function<void(const TableView&)>& visit) const {
  const TopInfo root = top();
  visit_tables(visit, {root.root, root.level, 0, {storage_.items(root.root.raw()), kTableItems<F>}});
}

template <PageTableFormat F>
void PageTable<F>::visit_tables(const std::function<void(const TableView&)>& visit, const TableView& table) const {
  visit(table);
  for (unsigned i = 0; i < kTableItems<F>; ++i) {
    const u64 item = load_item(table.items[i]);
    if (F::kind(item, table.level) != EntryKind::kTable) continue;
    const PhysAddr address{F::table_address(item)};
    u64 iova = table.iova + i * item_size<F>(table.level);
    if (has_feature<F, Feature::kSignExtend>(storage_.features())) iova = sign_extend(iova, va_bits_);
    visit_tables(visit, {address, table.level - 1, iova, {storage_.items(address.raw()), kTableItems<F>}});
  }
}

}  // namespace iommufd::pt

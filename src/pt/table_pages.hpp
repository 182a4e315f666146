// SPDX-License-Identifier: BSD-3-Clause
// Memory of page tables: 4 KiB pages with physical addresses of the simulated machine.
//
// The arena reserves one large range of virtual memory and gives page n the physical address base + n * 4 KiB, so that
// the way from a physical address to memory is one addition. Memory is committed as it is first used and is kept for
// reuse. A page that is handed out is zero.
//
// Gather collects what an operation took out of a table: the range of IOVAs whose old translations may still be cached,
// and the tables that are no longer linked but that a device may still be walking. Tables get a link outside the page,
// so gathering neither allocates nor changes what a walker reads.
//
// Locks: TableArena::mu_ (kPtAlloc), taken by allocate() and free().
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <limits>
#include <memory>
#include <optional>

#include "base/result.hpp"
#include "base/sync.hpp"
#include "base/types.hpp"

namespace iommufd::pt {

inline constexpr std::size_t kItemsPerPage = kPageSize / sizeof(u64);

// Pages that wait to be freed together. The links are in the arena the pages come from.
struct TablePageList {
  static constexpr u32 kNone = std::numeric_limits<u32>::max();
  u32 first = kNone;
  u32 last = kNone;
  u64 count = 0;
};

// The way from the physical address of a table to its items.
class TableMemory {
 public:
  explicit TableMemory(u64 delta) : delta_(delta) {}
  [[nodiscard]] u64* at(u64 table) const {
    return reinterpret_cast<u64*>(table + delta_);  // NOLINT(performance-no-int-to-ptr): one addition is the point
  }

 private:
  u64 delta_;  // pointer minus physical address
};

class TableArena {
 public:
  enum class Reuse {
    kNewestFirst,  // the page freed last is the next one handed out: warm in the cache
    kFreshFirst,   // freed pages only when no fresh one is left: addresses rise, a use after free stands out
  };
  struct Config {
    PhysAddr base{0x1'0000'0000};  // page aligned
    u64 size = u64{16} << 30;      // bytes reserved, a multiple of 4 MiB; what can be committed at most
    Reuse reuse = Reuse::kNewestFirst;
  };

  // Errors: kInval (base or size not aligned, size 0 or too large, range beyond 2^52), kNoMem (address space).
  static Result<std::unique_ptr<TableArena>> create(const Config& config);
  ~TableArena();
  TableArena(const TableArena&) = delete;
  TableArena& operator=(const TableArena&) = delete;

  // A zeroed page. A fault point. Errors: kNoMem (arena used up, host out of memory). Thread-safe.
  Result<PhysAddr> allocate() IOMMUFD_EXCLUDES(mu_);
  // Gives back a page (every page of `pages`) that nobody can reach any more. Never fails. Thread-safe.
  void free(PhysAddr page) IOMMUFD_EXCLUDES(mu_);
  void free(TablePageList& pages) IOMMUFD_EXCLUDES(mu_);
  // Puts `page`, which is allocated and owned by the caller, in front of `pages`.
  void push(TablePageList& pages, PhysAddr page);
  // Moves all of `from` in front of `pages`.
  void append(TablePageList& pages, TablePageList& from);

  // The items of a table. Pre: `page` was handed out by this arena.
  [[nodiscard]] u64* items(PhysAddr page) const { return items_.at(page.raw()); }
  [[nodiscard]] TableMemory memory() const { return items_; }
  [[nodiscard]] PhysAddr base() const { return base_; }
  [[nodiscard]] u64 size() const { return size_; }
  [[nodiscard]] u64 pages_in_use() const { return in_use_.load(std::memory_order_relaxed); }

 private:
  TableArena(const Config& config, std::byte* memory);
  [[nodiscard]] u32 index_of(PhysAddr page) const;
  [[nodiscard]] PhysAddr page_at(u32 index) const { return advance(base_, u64{index} << kPageShift); }
  Result<void> commit_locked() IOMMUFD_REQUIRES(mu_);

  const PhysAddr base_;
  const u64 size_;
  const Reuse reuse_;
  std::byte* const memory_;  // size_ bytes of pages, then one u32 link per page
  u32* const links_;         // next page of the list that a page is in; owned by the owner of the page
  const TableMemory items_;
  std::atomic<u64> in_use_{0};

  Mutex mu_{LockRank::kPtAlloc};
  TablePageList free_ IOMMUFD_GUARDED_BY(mu_);
  u32 fresh_ IOMMUFD_GUARDED_BY(mu_) = 0;      // pages below have been handed out at least once
  u32 committed_ IOMMUFD_GUARDED_BY(mu_) = 0;  // pages below are backed by memory
};

// What has to be flushed, and what may be freed once it is. Use: let operations fill it; if !empty(), invalidate
// range() in every cache of translations and wait until no device walks the table; then free(). Belongs to one thread.
class Gather {
 public:
  explicit Gather(TableArena& arena) : arena_(arena) {}
  Gather(const Gather&) = delete;
  Gather& operator=(const Gather&) = delete;
  // Pre: no tables are left in it (free() was called, or none were gathered).
  ~Gather();

  // The hull of all added ranges; start > last when nothing was added.
  [[nodiscard]] IovaRange range() const { return range_; }
  [[nodiscard]] bool has_range() const { return range_.start <= range_.last; }
  [[nodiscard]] u64 tables() const { return pages_.count; }
  [[nodiscard]] bool empty() const { return !has_range() && tables() == 0; }

  // Adds `length` bytes from `start`. An empty range only marks the place, in a Gather that has none.
  void add_range(u64 start, u64 length) {
    if (length == 0) {
      if (empty() && start != 0) range_ = {start, start - 1};
      return;
    }
    if (!has_range()) range_ = {~u64{0}, 0};
    range_.start = std::min(range_.start, start);
    range_.last = std::max(range_.last, start + (length - 1));
  }
  void add_table(PhysAddr page) { arena_.push(pages_, page); }
  void add_tables(TablePageList& pages) { arena_.append(pages_, pages); }

  // After the flush: gives the tables back and starts anew. Never fails.
  void free();

 private:
  TableArena& arena_;
  IovaRange range_{~u64{0}, 0};
  TablePageList pages_;
};

}  // namespace iommufd::pt

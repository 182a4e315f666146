// SPDX-License-Identifier: BSD-3-Clause
// A page table whose format is known only to the one who made it (formats.hpp). One virtual call per operation; what is
// hot inside is compiled per format (page_table.hpp). Spec: page-table-formats 8.
//
// Who may call what at the same time:
// - map, unmap, cut and read_and_clear_dirty: callers serialise calls on overlapping ranges; other ranges run in parallel.
// - lookup, set_dirty and record_write: at any time, from any thread, without a lock. A Gather that holds tables may be
//   freed only when every one of them that began before the flush has returned; the same holds for the pages that an
//   unmapped range translated to. Unmap stores with release only: whoever waits for walkers issues a full fence between
//   the unmap and looking for them, and a walker one between announcing itself and its lookup.
// Lock order: kPtTop (growth of the root), then kPtAlloc.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "base/result.hpp"
#include "base/types.hpp"
#include "pt/description.hpp"
#include "pt/table_pages.hpp"

namespace iommufd::pt {

struct Translation {
  PhysAddr pa;
  Access access = Access::kNone;  // what every level of the walk allows
  u8 item_lg2 = 0;                // size of the item: one slot of a table, with accessed and dirty bits of its own
  u64 length = 0;                 // bytes from the looked-up address to the end of its entry, contiguous in both spaces
  friend bool operator==(const Translation&, const Translation&) = default;
};

// Where the walk begins.
struct TopInfo {
  PhysAddr root;
  unsigned level = 0;  // of the root table; 0 is the leaf table, so a table of three levels has level 2
  friend bool operator==(const TopInfo&, const TopInfo&) = default;
};

// Told when a root grows, before anything in the new part is mapped. Called with kPtTop held: it stores the new root
// where its device walks from, and does not block.
class TopListener {
 public:
  virtual void change_top(const TopInfo& top) = 0;

 protected:
  ~TopListener() = default;
};

enum class DirtyMode {
  kReadAndClear,
  kReadOnly,  // IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR
};

// Receives what read_and_clear_dirty() finds, in rising order: ranges of single items, clipped to the request.
class DirtySink {
 public:
  virtual void dirty(Iova iova, u64 length) = 0;

 protected:
  ~DirtySink() = default;
};

// One table as the hardware sees it.
struct TableView {
  PhysAddr address;
  unsigned level = 0;
  u64 iova = 0;  // first address that item 0 covers
  std::span<const u64> items;
};

class Table {
 public:
  virtual ~Table() = default;
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  // Maps [iova, iova + length) to [pa, ...) with the largest entries that fit. `mapped` is set to the bytes installed,
  // also on error: they stay, and the caller unmaps exactly those. Empty tables that an entry replaces go to `gather`
  // (on errors too). Errors in order of check (spec 8.1): kInval (no access), kRange (pa), kInval (access not possible
  // in this format), kInval (length 0), kOverflow, kNxio (no page size fits), kRange (iova), then on the way kAddrInUse
  // and kNoMem.
  virtual Result<void> map(Iova iova, PhysAddr pa, u64 length, Access access, u64& mapped, Gather& gather) = 0;

  // Removes whole entries from `iova` on and returns the bytes removed: fewer than `length` when there is a hole, 0 when
  // `iova` is inside an entry or the range is not valid, more when the range ends inside an entry (spec 8.4). Never
  // fails, never allocates. Tables that the range covers entirely are unlinked into `gather`.
  virtual u64 unmap(Iova iova, u64 length, Gather& gather) = 0;

  // Breaks the entry that reaches across `at` into smaller ones, of which one begins there; nothing to do when none does. So a
  // hole [a, b) is cut(a), cut(b), unmap. What is translated stays as it is at every moment; the range of the old entry is added
  // to `gather`, for translations that are cached. Errors: kInval (not a multiple of the smallest page size), kNoMem (what was
  // cut until then stays cut). Counts as a map of the entry's range for who may call it.
  virtual Result<void> cut(Iova at, Gather& gather) = 0;

  // Walks the table as the hardware does. Nothing when no entry translates `iova`. Lock-free.
  [[nodiscard]] virtual std::optional<Translation> lookup(Iova iova) const noexcept = 0;
  // The same, for callers that want the address only (iommu_iova_to_phys).
  [[nodiscard]] std::optional<PhysAddr> iova_to_phys(Iova iova) const noexcept {
    const std::optional<Translation> t = lookup(iova);
    return t ? std::optional{t->pa} : std::nullopt;
  }

  // Whether entries have a dirty bit. Without one read_and_clear_dirty() finds nothing.
  [[nodiscard]] virtual bool tracks_dirty() const noexcept = 0;
  // Reports the dirty items of a range to `sink` and, unless kReadOnly, cleans them and adds them to the flush range.
  // Errors: kInval (length 0), kOverflow, kRange.
  virtual Result<void> read_and_clear_dirty(Iova iova, u64 length, DirtyMode mode, DirtySink& sink, Gather& gather) = 0;
  // Sets the dirty bit of the item that translates `iova`, and no other: for tests. Errors: kRange, kNoEnt (no entry, or
  // a format without dirty bit), kAgain (the entry changed meanwhile). Lock-free.
  virtual Result<void> set_dirty(Iova iova) noexcept = 0;
  // What the hardware does to the item that translates `iova` before it lets a write through: sets its accessed and its
  // dirty bit, in one store. Errors: kRange, kNoEnt. Lock-free.
  virtual Result<void> record_write(Iova iova) noexcept = 0;

  // One bit for each size of entry that map() uses.
  [[nodiscard]] u64 pgsize_bitmap() const { return pgsize_bitmap_; }
  // The addresses that can be mapped, once the root has grown as far as it can.
  [[nodiscard]] IovaRange aperture() const { return aperture_; }
  // Root and depth, a consistent pair.
  [[nodiscard]] virtual TopInfo top() const noexcept = 0;

  // How to read its items, for observers.
  [[nodiscard]] virtual TableDescription describe() const noexcept = 0;
  // Visits every table, parents first, in rising order of address space. Pre: nobody changes the table meanwhile.
  virtual void for_each_table(const std::function<void(const TableView&)>& visit) const = 0;

 protected:
  Table(u64 pgsize_bitmap, IovaRange aperture) : pgsize_bitmap_(pgsize_bitmap), aperture_(aperture) {}

 private:
  const u64 pgsize_bitmap_;
  const IovaRange aperture_;
};

}  // namespace iommufd::pt

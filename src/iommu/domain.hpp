// SPDX-License-Identifier: BSD-3-Clause
// A domain: one page table with the properties that the core asks for, and the IOMMU that made it. The software-only
// table of noiommu devices is a domain like any other; what differs is its maker (instance.hpp).
//
// Concurrency as pt/table.hpp: the core serialises map and unmap of overlapping ranges; lookup() is lock-free.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"
#include "pt/table.hpp"

namespace iommufd::iommu {

class Instance;

// Whether the hardware records writes in the dirty bits of a domain, or could (IOMMU_HWPT_ALLOC_DIRTY_TRACKING).
enum class DirtyTracking : u8 { kUnsupported, kOff, kOn };

class Domain {
 public:
  // `tracking` is kUnsupported or kOff.
  Domain(Instance& owner, pt::TableArena& arena, std::unique_ptr<pt::Table> table, IovaRange aperture,
         DirtyTracking tracking)
      : owner_(owner), arena_(arena), table_(std::move(table)), aperture_(aperture), tracking_(tracking) {}
  Domain(const Domain&) = delete;
  Domain& operator=(const Domain&) = delete;

  // All or nothing. Errors: those of pt::Table::map. `iova`, `pa` and `length` are multiples of the smallest page.
  // `gather` receives tables that large entries replaced.
  Result<void> map(Iova iova, PhysAddr pa, u64 length, Access access, pt::Gather& gather);
  // Removes [iova, iova + length), every byte of which this domain maps in whole entries. When it returns, no device reaches what
  // was mapped there through this domain any more. Never inside a DMA transaction.
  void unmap(Iova iova, u64 length, pt::Gather& gather);
  [[nodiscard]] std::optional<pt::Translation> lookup(Iova iova) const { return table_->lookup(iova); }

  [[nodiscard]] bool can_track_dirty() const { return tracking_.load() != DirtyTracking::kUnsupported; }
  [[nodiscard]] bool tracks_dirty() const { return tracking_.load(std::memory_order_acquire) == DirtyTracking::kOn; }
  [[nodiscard]] DirtyTracking dirty_tracking() const { return tracking_.load(std::memory_order_acquire); }
  // Pre: can_track_dirty(), and `tracking` is kOff or kOn. What a device writes after the call is recorded, or is not.
  void set_dirty_tracking(DirtyTracking tracking);
  // Reports the dirty items of a range; `gather` receives what to flush: until then a device may write without a trace.
  void read_dirty(Iova iova, u64 length, pt::DirtyMode mode, pt::DirtySink& sink, pt::Gather& gather);
  // A device is about to write at `iova`, inside its transaction. False when nothing translates it any more.
  [[nodiscard]] bool record_write(Iova iova) { return table_->record_write(iova).has_value(); }

  // Devices forget what they know of the range, and transactions that began before end. Never inside one.
  void flush(IovaRange range) const;

  [[nodiscard]] Instance& owner() const { return owner_; }
  [[nodiscard]] pt::TableArena& arena() const { return arena_; }
  [[nodiscard]] pt::Table& table() const { return *table_; }
  [[nodiscard]] u64 pgsize_bitmap() const { return table_->pgsize_bitmap(); }
  [[nodiscard]] u64 smallest_page() const { return u64{1} << std::countr_zero(pgsize_bitmap()); }
  [[nodiscard]] IovaRange aperture() const { return aperture_; }
  // The built-in software table of devices without an IOMMU; GET_PA asks for it (noiommu.md 10.1).
  [[nodiscard]] bool is_noiommu() const;
  // Every access of a device through it snoops the caches. Tables of IOMMUs are made so; noiommu has nobody to do it.
  [[nodiscard]] bool enforces_coherency() const { return !is_noiommu(); }

 private:
  Instance& owner_;
  pt::TableArena& arena_;
  const std::unique_ptr<pt::Table> table_;
  const IovaRange aperture_;
  std::atomic<DirtyTracking> tracking_;
};

}  // namespace iommufd::iommu

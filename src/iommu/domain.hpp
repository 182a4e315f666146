// SPDX-License-Identifier: BSD-3-Clause
// A domain: one page table with the properties that the core asks for, and the IOMMU that made it. The software-only
// table of noiommu devices is a domain like any other; what differs is its maker (instance.hpp).
//
// Concurrency as pt/table.hpp: the core serialises map and unmap of overlapping ranges; lookup() is lock-free.
#pragma once

#include <memory>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"
#include "pt/table.hpp"

namespace iommufd::iommu {

class Instance;

class Domain {
 public:
  Domain(Instance& owner, pt::TableArena& arena, std::unique_ptr<pt::Table> table, IovaRange aperture)
      : owner_(owner), arena_(arena), table_(std::move(table)), aperture_(aperture) {}
  Domain(const Domain&) = delete;
  Domain& operator=(const Domain&) = delete;

  // All or nothing. Errors: those of pt::Table::map. `iova`, `pa` and `length` are multiples of the smallest page.
  // `gather` receives tables that large entries replaced.
  Result<void> map(Iova iova, PhysAddr pa, u64 length, Access access, pt::Gather& gather);
  // Removes [iova, iova + length), every byte of which this domain maps in whole entries.
  void unmap(Iova iova, u64 length, pt::Gather& gather);
  [[nodiscard]] std::optional<pt::Translation> lookup(Iova iova) const { return table_->lookup(iova); }

  [[nodiscard]] Instance& owner() const { return owner_; }
  [[nodiscard]] pt::TableArena& arena() const { return arena_; }
  [[nodiscard]] pt::Table& table() const { return *table_; }
  [[nodiscard]] u64 pgsize_bitmap() const { return table_->pgsize_bitmap(); }
  [[nodiscard]] u64 smallest_page() const { return u64{1} << std::countr_zero(pgsize_bitmap()); }
  [[nodiscard]] IovaRange aperture() const { return aperture_; }
  // The built-in software table of devices without an IOMMU; GET_PA asks for it (noiommu.md 10.1).
  [[nodiscard]] bool is_noiommu() const;

 private:
  Instance& owner_;
  pt::TableArena& arena_;
  const std::unique_ptr<pt::Table> table_;
  const IovaRange aperture_;
};

}  // namespace iommufd::iommu

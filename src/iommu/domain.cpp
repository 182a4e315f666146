// SPDX-License-Identifier: BSD-3-Clause
#include "iommu/domain.hpp"

#include "base/assert.hpp"
#include "iommu/instance.hpp"

namespace iommufd::iommu {

bool Domain::is_noiommu() const { return owner_.kind() == Kind::kNone; }

Result<void> Domain::map(Iova iova, PhysAddr pa, u64 length, Access access, pt::Gather& gather) {
  u64 mapped = 0;
  const u64 replaced = gather.tables();
  const Result<void> done = table_->map(iova, pa, length, access, mapped, gather);
  if (!done && mapped != 0) unmap(iova, mapped, gather);
  if (gather.tables() != replaced) flush({iova.raw(), iova.raw() + (length - 1)});
  return done;
}

void Domain::unmap(Iova iova, u64 length, pt::Gather& gather) {
  const u64 removed = table_->unmap(iova, length, gather);
  IOMMUFD_ASSERT(removed == length);
  flush({iova.raw(), iova.raw() + (length - 1)});
}

void Domain::flush(IovaRange range) const { owner_.flush(*this, range); }

void Domain::set_dirty_tracking(DirtyTracking tracking) {
  tracking_.store(tracking, std::memory_order_release);
  flush(aperture_);
}

void Domain::read_dirty(Iova iova, u64 length, pt::DirtyMode mode, pt::DirtySink& sink, pt::Gather& gather) {
  // A range outside of the table has no dirty items.
  static_cast<void>(table_->read_and_clear_dirty(iova, length, mode, sink, gather));
}

}  // namespace iommufd::iommu

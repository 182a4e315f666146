// SPDX-License-Identifier: BSD-3-Clause
// Splitting a mapping in two (spec iommufd-core 4.7): what VFIO's type1 (version 1) needs to unmap a part of one. The parts
// share their pages; what is pinned, charged and mapped stays as it is.
#include "base/explain.hpp"
#include "base/rollback.hpp"
#include "core/ioas.hpp"

namespace iommufd::core {

Result<void> Ioas::split_after(u64 last) {
  const ReadLock domains_lock(domains_mu_);
  const MutexLock lock(iova_mu_);
  const auto it = areas_.find(last, last);
  // The first byte of a mapping counts as no place to cut (quirk Q15).
  if (it == areas_.end() || it->last == last || it->start == last) return {};
  Area& area = it->value;
  if (area.busy || area.no_access)
    return reject(Errno::kBusy,
                  {"iova", it->start, "another call is mapping or unmapping there", "iommufd-core 4.7 row 3"});
  if (area.pages->backing() == mem::Backing::kDmaBuf)
    return reject(Errno::kOpNotSupp, {"iova", it->start, "memory of a device is not split", "iommufd-core 4.7 row 4"});
  const u64 right = last + 1;
  const u64 offset = area.offset + (right - it->start);
  if (!is_aligned(right | offset, alignment_))
    return reject(Errno::kInval,
                  {"iova", right, "a mapping is split at the IOVA alignment only", "iommufd-core 4.7 row 5"});
  if (area.pins != 0)
    return reject(Errno::kInval, {"iova", it->start, "an access has pinned a part of it", "iommufd-core 4.7 row 7"});
  if (!domains_.empty() && huge_pages_)
    return reject(Errno::kInval,
                  {"iova", right, "page tables may hold large entries, which are not split", "iommufd-core 4.7 row 8"});
  Area left = area;
  area.offset = offset;
  Rollback undo{[&] { area.offset = left.offset; }};
  areas_.split(it, last, left);
  undo.commit();
  return {};
}

}  // namespace iommufd::core

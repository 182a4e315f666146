// SPDX-License-Identifier: BSD-3-Clause
// Ranges, options, and GET_PA of an IOAS.
#include "core/ioas.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "base/explain.hpp"
#include "core/access.hpp"
#include "core/ioas_detail.hpp"

namespace iommufd::core {

void Ioas::teardown() {
  // Nobody uses the object any more: no HWPT, so no domain.
  const Result<u64> done = unmap_all();
  IOMMUFD_ASSERT(done.has_value());
}

Ioas::Ranges Ioas::iova_ranges() {
  const MutexLock lock(iova_mu_);
  return {reserved_.gaps(), alignment_};
}

Result<void> Ioas::collect_file_pages(std::vector<Ref<mem::Pages>>& out) {
  const MutexLock lock(iova_mu_);
  for (const auto [start, last, area] : areas_) {
    if (area.busy) continue;
    if (area.pages->backing() != mem::Backing::kFile)
      return reject(Errno::kInval, {"iova", start, "every mapping of the context must be of a file (MAP_FILE)",
                                    "iommufd-core 3.10 row 3"});
    out.push_back(area.pages);
  }
  return {};
}

u64 Ioas::pgsize_bitmap() {
  const ReadLock lock(domains_mu_);
  u64 sizes = ~u64{0};
  for (const iommu::Domain* domain : domains_) sizes &= domain->pgsize_bitmap();
  return sizes;
}

bool Ioas::enforces_coherency() {
  const ReadLock lock(domains_mu_);
  for (const iommu::Domain* domain : domains_)
    if (!domain->enforces_coherency()) return false;
  return true;
}

Result<void> Ioas::allow(iova::IntervalMap<std::monostate> ranges) {
  const MutexLock lock(iova_mu_);
  for (const auto [start, last, none] : ranges)
    if (reserved_.overlaps(start, last))
      return reject(Errno::kAddrInUse, {"allowed_iovas", start, "overlaps a reserved range", "iommufd-core 3.3 row 4"});
  allowed_.swap(ranges);
  return {};
}

Result<void> Ioas::reserve(const std::vector<IovaRange>& ranges, const void* owner) {
  const MutexLock lock(iova_mu_);
  for (const IovaRange& r : ranges) {
    if (areas_.overlaps(r.start, r.last))
      return reject(
          Errno::kAddrInUse,
          {"iova", r.start, "a mapping lies in a range that the device or its IOMMU reserves", "iommufd-core 4.8"});
    if (allowed_.overlaps(r.start, r.last))
      return reject(Errno::kAddrInUse,
                    {"allowed_iovas", r.start, "an allowed range lies in a range that the device or its IOMMU reserves",
                     "iommufd-core 4.8"});
  }
  reserved_.make_room(ranges.size());
  for (const IovaRange& r : ranges) reserved_.add(r, owner);
  return {};
}

void Ioas::unreserve(const void* owner) {
  const MutexLock lock(iova_mu_);
  reserved_.remove(owner);
}

u64 Ioas::wanted_alignment_locked() const {
  u64 alignment = huge_pages_ ? 1 : kPageSize;
  for (const iommu::Domain* domain : domains_) alignment = std::max(alignment, domain->smallest_page());
  if (std::ranges::any_of(accesses_, [](const IoasAccess* a) { return a->pinning() == Pinning::kAllowed; }))
    alignment = std::max(alignment, kPageSize);
  return alignment;
}

Result<void> Ioas::raise_alignment_locked(u64 alignment) {
  if (alignment > kPageSize)
    return reject(Errno::kInval,
                  {"alignment", alignment, "the domain's smallest page is larger than a CPU page", "iommufd-core 4.5"});
  if (alignment <= alignment_) return {};
  for (const auto [start, last, area] : areas_) {
    const u64 length = last - start + 1;
    if (!is_aligned(start | length | area.offset, alignment))
      return reject(
          Errno::kAddrInUse,
          {"iova", start, "an existing mapping is not aligned to the IOMMU's smallest page", "iommufd-core 4.5"});
  }
  alignment_ = alignment;
  return {};
}

bool Ioas::huge_pages() {
  const ReadLock lock(domains_mu_);
  return huge_pages_;
}

Result<void> Ioas::set_huge_pages(bool on) {
  const WriteLock domains_lock(domains_mu_);
  const MutexLock iova_lock(iova_mu_);
  if (on == huge_pages_) return {};
  if (on) {
    huge_pages_ = true;
    alignment_ = wanted_alignment_locked();
    return {};
  }
  if (!domains_.empty() && !areas_.empty())
    return reject(Errno::kInval, {"val64", 0, "huge pages cannot be switched off while a HWPT and mappings exist",
                                  "iommufd-core 3.9"});
  IOMMUFD_TRY(raise_alignment_locked(std::max(alignment_, kPageSize)));
  huge_pages_ = false;
  return {};
}

Result<Ioas::PhysRun> Ioas::noiommu_phys(u64 iova, u64 max_length) {
  const ReadLock domains_lock(domains_mu_);
  const MutexLock iova_lock(iova_mu_);
  const auto it = areas_.find(iova, iova);
  if (it == areas_.end() || it->value.busy)
    return reject(Errno::kNoEnt, {"iova", iova, "is not mapped", "noiommu 12 row 6"});
  if (it->value.revoked)
    return reject(Errno::kInval, {"iova", iova, "the device has taken its memory back", "noiommu 12 row 7"});
  if (domains_.empty())
    return reject(Errno::kOpNotSupp,
                  {"ioas_id", std::to_underlying(id()),
                   "the IOAS has no HWPT: attach a noiommu device (or HWPT_ALLOC for one) first", "noiommu 12 row 8"});
  const iommu::Domain& storage = *domains_.front();
  if (!storage.is_noiommu())
    return reject(Errno::kOpNotSupp,
                  {"ioas_id", std::to_underlying(id()),
                   "its first HWPT belongs to an IOMMU: use an IOAS of its own, or attach the noiommu device first",
                   "noiommu 11, 12 row 8"});
  const auto phys_at = [&](u64 at) {
    const std::optional<pt::Translation> t = storage.lookup(Iova{at});
    return t ? t->pa.raw() : 0;
  };
  // Page by page: physically contiguous entries that happen to follow each other count as one run.
  const u64 first = phys_at(iova);
  const u64 left = it->last - iova;  // bytes of the area after the first
  u64 length = std::min(kPageSize - (iova & kPageMask), left + 1);
  u64 previous = first - (iova & kPageMask);
  while (length < max_length && length <= left) {
    const u64 next = phys_at(iova + length);
    if (next == 0 || next != previous + kPageSize) break;
    previous = next;
    length += std::min(kPageSize, left + 1 - length);
  }
  return PhysRun{PhysAddr{first}, std::min(length, max_length)};
}

}  // namespace iommufd::core

// SPDX-License-Identifier: BSD-3-Clause
// MAP, COPY and UNMAP (spec iommufd-core 3.4, 3.7, 3.8).
#include "base/assert.hpp"
#include "base/explain.hpp"
#include "base/rollback.hpp"
#include "core/ioas.hpp"
#include "core/ioas_detail.hpp"
#include "iova/allocate.hpp"

namespace iommufd::core {
namespace {

constexpr u64 kMax = ~u64{0};

}  // namespace

// Rows 8 to 10: where a mapping goes. `hint` steers the automatic choice.
Result<u64> Ioas::place_locked(const MapRequest& request, u64 hint) {
  if (!is_aligned(request.length, alignment_))
    return reject(Errno::kInval,
                  {"length", request.length, "must be a multiple of the IOVA alignment", "iommufd-core 3.4 row 8"});
  u64 iova = request.iova;
  if (request.placement == Placement::kAutomatic) {
    const Result<u64> chosen = iova::allocate({request.length, hint, alignment_}, areas_, reserved_, allowed_);
    if (!chosen)
      return reject(chosen.error(),
                    {"length", request.length, "no IOVA of that length and alignment is free", "iommufd-core 3.5"});
    iova = *chosen;
  } else {
    u64 last = 0;
    if (!is_aligned(iova, alignment_))
      return reject(Errno::kInval,
                    {"iova", iova, "must be a multiple of the IOVA alignment", "iommufd-core 3.4 row 9b"});
    if (__builtin_add_overflow(iova, request.length - 1, &last))
      return reject(Errno::kOverflow, {"iova", iova, "iova + length wraps", "iommufd-core 3.4 row 9c"});
    if (reserved_.overlaps(iova, last))
      return reject(Errno::kInval,
                    {"iova", iova, "overlaps a reserved range (see IOAS_IOVA_RANGES)", "iommufd-core 3.4 row 9d"});
    if (areas_.overlaps(iova, last))
      return reject(Errno::kExist, {"iova", iova, "overlaps an existing mapping", "iommufd-core 3.4 row 9e"});
  }
  return iova;
}

Result<void> Ioas::fill_area(u64 start, u64 last, const Area& area, iommu::Domain& domain, pt::Gather& gather) {
  const u64 length = last - start + 1;
  const PageSpan span = pages_of(area.offset, length);
  const bool page_by_page = !huge_pages_;
  u64 done = 0;
  Rollback undo{[&] {
    if (done != 0) domain.unmap(Iova{start}, done, gather);
  }};
  IOMMUFD_TRY(area.pages->for_each_run(span.first, span.count, [&](u64 index, PhysAddr frame, u64 run) -> Result<void> {
    const u64 skip = area.offset + done - index * kPageSize;  // bytes of the run before the area
    u64 bytes = std::min(run * kPageSize - skip, length - done);
    PhysAddr pa = advance(frame, skip);
    while (bytes != 0) {
      const u64 step = page_by_page ? std::min(kPageSize - pa.page_offset(), bytes) : bytes;
      IOMMUFD_TRY(domain.map(Iova{start + done}, pa, step, area.access, gather));
      pa = advance(pa, step);
      done += step;
      bytes -= step;
    }
    return {};
  }));
  undo.commit();
  return {};
}

void Ioas::clear_area(u64 start, u64 last, iommu::Domain& domain, pt::Gather& gather) {
  domain.unmap(Iova{start}, last - start + 1, gather);
}

void Ioas::insert_area_locked(u64 start, u64 last, Area area) {
  mem::RevocableSpace* revocable = area.pages->revocable();
  if (revocable == nullptr) {
    areas_.insert(start, last, std::move(area));
    return;
  }
  revocable->add_mapper(*this, Ref<RefCounted>(*this));
  Rollback remove{[&] { revocable->remove_mapper(*this); }};
  area.revoked = area.pages->revoked();  // later than that, we are asked to remove it
  areas_.insert(start, last, std::move(area));
  remove.commit();
}

void Ioas::erase_area_locked(Areas::iterator at) {
  if (mem::RevocableSpace* revocable = at->value.pages->revocable()) revocable->remove_mapper(*this);
  areas_.erase(at);
}

// The areas stay; what they map is gone.
void Ioas::revoke(const mem::RevocableSpace& space) {
  Teardown teardown(platform_);
  const WriteLock domains_lock(domains_mu_);
  const MutexLock lock(iova_mu_);
  for (const auto [start, last, area] : areas_) {
    if (area.revoked || &area.pages->space() != &space || !area.pages->revoked()) continue;
    area.revoked = true;
    if (domains_.empty()) continue;
    for (iommu::Domain* domain : domains_) clear_area(start, last, *domain, teardown.gather);
    const PageSpan span = pages_of(area.offset, last - start + 1);
    area.pages->unpin_and_release(span.first, span.count);
  }
}

// The limit is looked at last (4.4): what no page table takes, neither readable nor writable, is refused as that (6.4).
Result<void> Ioas::pin_area(u64 start, u64 last, const Area& area) {
  const PageSpan span = pages_of(area.offset, last - start + 1);
  const Result<void> pinned = area.pages->pin(span.first, span.count);
  if (!pinned && pinned.error() == Errno::kNoMem && area.access == Access::kNone)
    return reject(Errno::kInval, {"flags", 0, "a HWPT maps nothing without READ or WRITE", "iommufd-core 6.4"});
  return pinned;
}

// Pins the area's pages and enters them into every domain. All or nothing.
Result<void> Ioas::fill_domains_locked(u64 start, u64 last, const Area& area) {
  if (domains_.empty() || area.revoked) return {};
  const PageSpan span = pages_of(area.offset, last - start + 1);
  Teardown teardown(platform_);
  IOMMUFD_TRY(pin_area(start, last, area));
  Rollback unpin{[&] { area.pages->unpin(span.first, span.count, teardown.frames); }};
  std::size_t filled = 0;
  Rollback unfill{[&]() IOMMUFD_REQUIRES_SHARED(domains_mu_) {
    for (std::size_t i = 0; i < filled; ++i) clear_area(start, last, *domains_[i], teardown.gather);
  }};
  for (; filled < domains_.size(); ++filled)
    IOMMUFD_TRY(fill_area(start, last, area, *domains_[filled], teardown.gather));
  unfill.commit();
  unpin.commit();
  return {};
}

void Ioas::tear_down_area_locked(u64 start, u64 last, const Area& area, Teardown& teardown) {
  if (domains_.empty() || area.revoked) return;
  const PageSpan span = pages_of(area.offset, last - start + 1);
  for (iommu::Domain* domain : domains_) clear_area(start, last, *domain, teardown.gather);
  area.pages->unpin(span.first, span.count, teardown.frames);
}

Result<u64> Ioas::map(const MapRequest& request, Ref<mem::AddressSpace> space, u64 start, Ref<mem::Process> process,
                      mem::ChargeMode mode) {
  if (request.length == 0 || request.length > kMax - kPageSize)
    return reject(Errno::kInval, {"length", request.length, "must be 1 to 2^64 - 4097", "iommufd-core 3.4 row 6"});
  Ref<mem::Pages> pages = make_ref<mem::Pages>(platform_.phys(), std::move(space), start, request.length,
                                               request.access, std::move(process), mode);
  // A revocation after this finds the pages void.
  if (const mem::RevocableSpace* revocable = pages->revocable(); revocable != nullptr && revocable->is_revoked())
    return reject(Errno::kNoDev, {"fd", 0, "the buffer is revoked", "iommufd-core 3.6 row f"});
  const u64 offset = pages->first_byte_offset();
  const Slice slice{std::move(pages), offset, request.length};
  return map_slices(request, std::span(&slice, 1));
}

Result<std::vector<Ioas::Slice>> Ioas::slices(u64 iova, u64 length) {
  if (length == 0) return reject(Errno::kInval, {"length", 0, "must not be 0", "iommufd-core 3.7 row 5"});
  u64 last = 0;
  if (__builtin_add_overflow(iova, length - 1, &last))
    return reject(Errno::kOverflow, {"src_iova", iova, "src_iova + length wraps", "iommufd-core 3.7 row 6"});
  std::vector<Slice> out;
  const MutexLock lock(iova_mu_);
  u64 at = iova;
  for (;;) {
    const auto it = areas_.find(at, at);
    if (it == areas_.end() || it->value.busy)
      return reject(Errno::kNoEnt, {"src_iova", at, "is not covered by a mapping", "iommufd-core 3.7 row 7"});
    const Area& area = it->value;
    const u64 end = std::min(it->last, last);
    out.push_back({area.pages, area.offset + (at - it->start), end - at + 1});
    if (end == last) return out;
    at = end + 1;
  }
}

Result<u64> Ioas::map_slices(const MapRequest& request, std::span<const Slice> slices) {
  const ReadLock domains_lock(domains_mu_);
  u64 iova = 0;
  std::size_t inserted = 0;
  std::size_t filled = 0;
  const auto start_of = [&](std::size_t n) {
    u64 at = iova;
    for (std::size_t i = 0; i < n; ++i) at += slices[i].length;
    return at;
  };
  Teardown teardown(platform_);
  Rollback undo{[&]() IOMMUFD_REQUIRES_SHARED(domains_mu_) {
    const auto area_at = [&](u64 start) IOMMUFD_REQUIRES(iova_mu_) { return areas_.find(start, start); };
    for (std::size_t i = 0; i < inserted; ++i) {
      const u64 start = start_of(i);
      const MutexLock lock(iova_mu_);
      const auto it = area_at(start);
      if (i < filled) tear_down_area_locked(start, it->last, it->value, teardown);
      erase_area_locked(it);
    }
  }};
  {
    const MutexLock lock(iova_mu_);
    const Slice& head = slices.front();
    // The hint is the position of the first byte in its own backing.
    const u64 hint = (head.pages->start() & ~kPageMask) + head.offset;
    iova = IOMMUFD_TRY(place_locked(request, hint));
    for (; inserted < slices.size(); ++inserted) {
      const Slice& slice = slices[inserted];
      if (allows(request.access, Access::kWrite) && !slice.pages->writable())
        return reject(Errno::kPerm, {"flags", std::to_underlying(request.access),
                                     "WRITEABLE, but the source was mapped without it", "iommufd-core 3.7 row 12"});
      if (!is_aligned(slice.offset & kPageMask, alignment_))
        return reject(Errno::kInval, {"offset in the page", slice.offset & kPageMask,
                                      "the memory must begin at a multiple of the IOVA alignment",
                                      "iommufd-core 3.4 row 10, 3.7 row 13"});
      const u64 start = start_of(inserted);
      insert_area_locked(start, start + (slice.length - 1), Area{slice.pages, slice.offset, request.access, true});
    }
  }
  for (; filled < slices.size(); ++filled) {
    const u64 start = start_of(filled);
    const Slice& slice = slices[filled];
    Area area{slice.pages, slice.offset, request.access, true};
    if (slice.pages->revocable() != nullptr) {
      const MutexLock lock(iova_mu_);
      area.revoked = areas_.find(start, start)->value.revoked;
    }
    IOMMUFD_TRY(fill_domains_locked(start, start + (slice.length - 1), area));
  }
  undo.commit();
  const MutexLock lock(iova_mu_);
  for (std::size_t i = 0; i < inserted; ++i) areas_.find(start_of(i), start_of(i))->value.busy = false;
  return iova;
}

// The loop of 3.8: areas inside the range, ascending. Areas that were removed stay removed when a later one fails.
Result<void> Ioas::unmap_range(u64 start, u64 last, u64& bytes) {
  constexpr unsigned kMostRounds = 100;
  bytes = 0;
  UnmapWalk walk{start, last, start, bytes};
  unsigned rounds = 0;  // about the area at `asked`
  u64 asked = 0;
  for (;;) {
    const std::optional<IovaRange> pinned = IOMMUFD_TRY(unmap_unpinned(walk));
    if (!pinned) return {};
    rounds = asked == pinned->start ? rounds + 1 : 1;
    asked = pinned->start;
    if (rounds > kMostRounds)
      return reject(Errno::kDeadlock,
                    {"iova", pinned->start, "an access does not unpin what it has pinned there", "iommufd-core 4.6"});
    notify_accesses(pinned->start, pinned->last);
  }
}

Result<std::optional<IovaRange>> Ioas::unmap_unpinned(UnmapWalk& walk) {
  const ReadLock domains_lock(domains_mu_);
  Area area;  // pages are let go without the lock
  for (;;) {
    u64 first = 0;
    u64 end = 0;
    {
      const MutexLock lock(iova_mu_);
      const auto it = areas_.find(walk.from, walk.last);
      if (it == areas_.end()) return std::nullopt;
      first = it->start;
      end = it->last;
      Area& found = it->value;
      if (found.busy)
        return reject(Errno::kBusy, {"iova", first, "another call is mapping or unmapping there", "iommufd-core 3.8"});
      if (first < walk.start || end > walk.last)
        return reject(Errno::kNoEnt,
                      {"iova", first, "a mapping is only partly inside the range; it is unmapped whole or not at all",
                       "iommufd-core 3.8"});
      if (found.pins != 0) {
        found.no_access = true;
        await_flights_locked(first, end);
        return IovaRange{first, end};
      }
      found.busy = true;
      await_flights_locked(first, end);
      area = found;
    }
    {
      Teardown teardown(platform_);
      tear_down_area_locked(first, end, area, teardown);
    }
    {
      const MutexLock lock(iova_mu_);
      erase_area_locked(areas_.find(first, first));
    }
    area.pages = nullptr;
    walk.bytes += end - first + 1;
    if (end == walk.last) return std::nullopt;
    walk.from = end + 1;
  }
}

Result<u64> Ioas::unmap(u64 iova, u64 length) {
  if (iova == kMax || length == kMax)
    return reject(Errno::kOverflow,
                  {iova == kMax ? "iova" : "length", kMax, "must be below 2^64 - 1", "iommufd-core 3.8 row 3"});
  if (length == 0) return reject(Errno::kInval, {"length", 0, "must not be 0", "iommufd-core 3.8 row 4"});
  u64 last = 0;
  if (__builtin_add_overflow(iova, length - 1, &last))
    return reject(Errno::kOverflow, {"iova", iova, "iova + length wraps", "iommufd-core 3.8 row 5"});
  u64 bytes = 0;
  IOMMUFD_TRY(unmap_range(iova, last, bytes));
  if (bytes == 0)
    return reject(Errno::kNoEnt, {"iova", iova, "nothing is mapped in the range", "iommufd-core 3.8 row 7"});
  return bytes;
}

Result<u64> Ioas::unmap_all() {
  u64 bytes = 0;
  IOMMUFD_TRY(unmap_range(0, kMax, bytes));
  return bytes;
}

}  // namespace iommufd::core

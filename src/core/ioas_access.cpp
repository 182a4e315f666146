// SPDX-License-Identifier: BSD-3-Clause
// What accesses do to an IOAS: pin, unpin, read, write (spec iommufd-core 4.6).
//
// A pin holds its areas by Area::pins, a copy only while it runs. Both are entered in in_flight_ while they run, so that
// whoever takes an area out waits for them: neither holds iova_mu_ while it touches memory of clients.
#include <algorithm>

#include "base/assert.hpp"
#include "base/explain.hpp"
#include "base/fault_point.hpp"
#include "base/rollback.hpp"
#include "core/access.hpp"
#include "core/ioas.hpp"
#include "core/ioas_detail.hpp"

namespace iommufd::core {
namespace {

constexpr std::size_t kMaxAccesses = 65536;
constexpr const char* kSection = "iommufd-core 4.6";

Err hole(u64 iova) { return reject(Errno::kNoEnt, {"iova", iova, "is not covered by a mapping", kSection}); }

}  // namespace

// A pin or a copy under way.
class Ioas::Flight {
 public:
  Flight(Ioas& ioas, u64 start, u64 last) : ioas_(ioas), range_{start, last} {
    const MutexLock lock(ioas.iova_mu_);
    ioas.in_flight_.push_back(&range_);
  }
  Flight(const Flight&) = delete;
  Flight& operator=(const Flight&) = delete;
  ~Flight() {
    const MutexLock lock(ioas_.iova_mu_);
    std::erase(ioas_.in_flight_, &range_);
    ioas_.landed_.notify_all();
  }

 private:
  Ioas& ioas_;
  const IovaRange range_;
};

void Ioas::await_flights_locked(u64 start, u64 last) {
  const auto meets = [&](const IovaRange* r) { return r->start <= last && start <= r->last; };
  while (std::ranges::any_of(in_flight_, meets)) landed_.wait(iova_mu_);
}

Result<u64> Ioas::check_access_range(u64 iova, u64 length) {
  u64 last = 0;
  if (length == 0) return reject(Errno::kInval, {"length", 0, "must not be 0", kSection});
  if (__builtin_add_overflow(iova, length - 1, &last))
    return reject(Errno::kOverflow, {"iova", iova, "iova + length wraps", kSection});
  return last;
}

Result<void> Ioas::add_access(IoasAccess& access) {
  const WriteLock domains_lock(domains_mu_);
  const MutexLock lock(iova_mu_);
  if (accesses_.size() >= kMaxAccesses)
    return reject(Errno::kBusy, {"ioas_id", std::to_underlying(id()), "has 65536 accesses", kSection});
  accesses_.reserve(accesses_.size() + 1);
  if (access.pinning() == Pinning::kAllowed) IOMMUFD_TRY(raise_alignment_locked(std::max(alignment_, kPageSize)));
  accesses_.push_back(&access);
  return {};
}

void Ioas::remove_access(IoasAccess& access) {
  const WriteLock domains_lock(domains_mu_);
  const MutexLock lock(iova_mu_);
  IOMMUFD_ASSERT(std::erase(accesses_, &access) == 1);
  alignment_ = wanted_alignment_locked();
}

// The part of [at, last] that one area covers, when an access may use it. The rows of 4.6 that pin and copy share.
Result<Ioas::AccessPiece> Ioas::piece_locked(u64 at, u64 last, Access want, AccessUse use) {
  const auto it = areas_.find(at, at);
  if (it == areas_.end() || it->value.busy) return hole(at);
  const Area& area = it->value;
  const u64 end = std::min(it->last, last);
  const u64 offset = area.offset + (at - it->start);
  const bool whole_pages =
      (offset & kPageMask) == 0 && (end == last || ((area.offset + (it->last - it->start) + 1) & kPageMask) == 0);
  if (area.no_access || (use == AccessUse::kPin && !whole_pages))
    return reject(Errno::kInval, {"iova", at,
                                  area.no_access ? "the mapping is being unmapped"
                                                 : "mappings must begin and end at pages where the range crosses them",
                                  kSection});
  if (!allows(area.access, want) || (allows(want, Access::kWrite) && !area.pages->writable()))
    return reject(Errno::kPerm, {"iova", at, "the mapping does not allow that access", kSection});
  if (use == AccessUse::kPin && area.pages->space().backing() == mem::Backing::kDmaBuf)
    return reject(Errno::kInval, {"iova", at, "memory of a device cannot be pinned by an access", "iommufd-core 8 Q7"});
  return AccessPiece{area.pages, offset, end - at + 1};
}

Result<void> Ioas::pin_access(u64 iova, u64 last, Access want, std::vector<PhysAddr>& frames) {
  const Flight flight(*this, iova, last);
  const std::size_t frames_before = frames.size();
  u64 at = iova;
  Rollback undo{[&] {
    if (at != iova) unpin_access(iova, at - 1);
    frames.resize(frames_before);
  }};
  for (;;) {
    AccessPiece piece;
    {
      const MutexLock lock(iova_mu_);
      piece = IOMMUFD_TRY(piece_locked(at, last, want, AccessUse::kPin));
      ++areas_.find(at, at)->value.pins;
    }
    const PageSpan span = pages_of(piece.offset, piece.length);
    Rollback let_go{[&] { release_pin(at); }};
    IOMMUFD_TRY(piece.pages->pin(span.first, span.count));
    Rollback unpin{[&] { piece.pages->unpin_and_release(span.first, span.count); }};
    IOMMUFD_TRY(fault::point(Errno::kInval));
    IOMMUFD_TRY(piece.pages->for_each_run(span.first, span.count, [&](u64, PhysAddr frame, u64 run) -> Result<void> {
      for (u64 i = 0; i < run; ++i) frames.push_back(advance(frame, i * kPageSize));
      return {};
    }));
    unpin.commit();
    let_go.commit();
    if (piece.length - 1 == last - at) break;
    at += piece.length;
  }
  undo.commit();
  return {};
}

void Ioas::release_pin(u64 iova) {
  const MutexLock lock(iova_mu_);
  Area& area = areas_.find(iova, iova)->value;
  IOMMUFD_ASSERT(area.pins != 0);
  --area.pins;
}

void Ioas::unpin_access(u64 iova, u64 last) {
  for (u64 at = iova;;) {
    Ref<mem::Pages> pages;
    PageSpan span{};
    u64 end = 0;
    {
      const MutexLock lock(iova_mu_);
      const auto it = areas_.find(at, at);
      IOMMUFD_ASSERT(it != areas_.end() && it->value.pins != 0);  // pinned areas stay
      const Area& area = it->value;
      pages = area.pages;
      end = std::min(it->last, last);
      span = pages_of(area.offset + (at - it->start), end - at + 1);
    }
    pages->unpin_and_release(span.first, span.count);
    release_pin(at);  // only now may the area go
    if (end == last) return;
    at = end + 1;
  }
}

template <class Byte, class Copy>
Result<void> Ioas::copy_access(u64 iova, std::span<Byte> buf, Access want, Copy&& copy) {
  const u64 last = iova + (buf.size() - 1);
  const Flight flight(*this, iova, last);
  for (u64 at = iova;;) {
    AccessPiece piece;
    {
      const MutexLock lock(iova_mu_);
      piece = IOMMUFD_TRY(piece_locked(at, last, want, AccessUse::kCopy));
    }
    IOMMUFD_TRY(copy(*piece.pages, piece.offset, buf.subspan(at - iova, piece.length)));
    if (piece.length - 1 == last - at) return {};
    at += piece.length;
  }
}

Result<void> Ioas::read(u64 iova, std::span<std::byte> buf, mem::AddressSpace* caller) {
  return copy_access(iova, buf, Access::kRead, [&](mem::Pages& pages, u64 offset, std::span<std::byte> part) {
    return pages.read(offset, part, caller);
  });
}

Result<void> Ioas::write(u64 iova, std::span<const std::byte> buf, mem::AddressSpace* caller) {
  return copy_access(iova, buf, Access::kWrite, [&](mem::Pages& pages, u64 offset, std::span<const std::byte> part) {
    return pages.write(offset, part, caller);
  });
}

std::optional<u64> Ioas::nth_area(u32 nth) {
  const MutexLock lock(iova_mu_);
  for (const auto [start, last, area] : areas_)
    if (nth-- == 0) return start;
  return std::nullopt;
}

// Asks every access to unpin what it has in [start, last]. No lock is held while a driver is called. An access that is passed
// over because another one left meanwhile is asked in the next round: its pins are still there.
void Ioas::notify_accesses(u64 start, u64 last) {
  for (std::size_t i = 0;; ++i) {
    Use<IoasAccess> access;
    {
      const MutexLock lock(iova_mu_);
      if (i >= accesses_.size()) return;
      access = Use<IoasAccess>::try_acquire(*accesses_[i]);
    }
    if (access) access->driver().unmap(start, last - start + 1);
  }
}

}  // namespace iommufd::core

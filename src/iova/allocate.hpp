// SPDX-License-Identifier: BSD-3-Clause
// Choosing an IOVA: first fit, lowest address, with the alignment that lets large pages be used. The rules, their
// off-by-ones included, are spec iommufd-core 3.5.
#pragma once

#include <algorithm>
#include <optional>

#include "base/result.hpp"
#include "base/types.hpp"
#include "iova/interval_map.hpp"
#include "iova/reserved.hpp"

namespace iommufd::iova {

struct AllocRequest {
  u64 length = 0;     // bytes
  u64 hint = 0;       // user address, file offset or position in the source: its low bits are kept
  u64 alignment = 1;  // of the IOAS
};

// The steps of 3.5. `areas` and `reserved` are occupied; `allowed` (touching ranges merged by the walk) restricts where
// to look unless it is empty. Errors: kOverflow (length), kInval (alignment cannot be met), kNoSpc.
template <class Area, class Allowed>
Result<u64> allocate(const AllocRequest& request, const IntervalMap<Area>& areas, const ReservedRanges& reserved,
                     const IntervalMap<Allowed>& allowed);

namespace detail {

// Result of step 2: alignment of the chosen address. kInval when it is below that of the IOAS.
Result<u64> choose_alignment(const AllocRequest& request);

// `base` rounded up to `align`, with `offset` or-ed in, if [result, result + length) fits below `last`.
bool place(u64 base, u64 last, u64 align, u64 offset, u64 length, u64& result);

// Looks in [start, last] for the first gap between areas and reserved ranges that takes the request.
template <class Area>
bool first_gap(u64 start, u64 last, u64 align, u64 offset, u64 length, const IntervalMap<Area>& areas,
               const ReservedRanges& reserved, u64& result) {
  for (u64 from = start;;) {
    // No shorter gap can take it.
    const std::optional<IovaRange> between = areas.next_gap(from, length);
    if (!between || between->start > last) return false;
    const u64 end = std::min(between->last, last);
    u64 gap = between->start;
    bool used_up = false;
    for (const ReservedRanges::Range& r : reserved.ranges()) {
      if (r.last < gap) continue;
      if (r.start > end) break;
      if (r.start > gap && place(gap, r.start - 1, align, offset, length, result)) return true;
      used_up = r.last >= end;
      if (used_up) break;
      gap = r.last + 1;
    }
    if (!used_up && place(gap, end, align, offset, length, result)) return true;
    if (end == last) return false;
    from = end + 1;
  }
}

}  // namespace detail

template <class Area, class Allowed>
Result<u64> allocate(const AllocRequest& request, const IntervalMap<Area>& areas, const ReservedRanges& reserved,
                     const IntervalMap<Allowed>& allowed) {
  constexpr u64 kWindowFirst = kPageSize;
  constexpr u64 kWindowLast = ~u64{0} - kPageSize;
  const u64 align = IOMMUFD_TRY(detail::choose_alignment(request));
  const u64 offset = request.hint & kPageMask;

  u64 result = 0;
  const auto look_in = [&](u64 first, u64 last) {
    u64 start = 0;
    if (!detail::place(first, last, align, offset, request.length, start)) return false;
    return detail::first_gap(start, last, align, offset, request.length, areas, reserved, result);
  };
  if (allowed.empty()) {
    if (look_in(kWindowFirst, kWindowLast)) return result;
    return Err(Errno::kNoSpc);
  }
  for (auto it = allowed.begin(); it != allowed.end();) {
    const u64 start = it->start;
    u64 last = it->last;
    for (++it; it != allowed.end() && last != ~u64{0} && it->start == last + 1; ++it) last = it->last;
    if (start > kWindowLast || last < kWindowFirst) continue;
    if (look_in(std::max(start, kWindowFirst), std::min(last, kWindowLast))) return result;
  }
  return Err(Errno::kNoSpc);
}

}  // namespace iommufd::iova

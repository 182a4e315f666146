// SPDX-License-Identifier: BSD-3-Clause
// Where mappings may lie: alignment, reserved and allowed ranges, automatic IOVAs (spec iommufd-core 3.4, 3.5, 4.5, 4.8).
#include "tests/fuzz/model.hpp"

namespace iommufd::fuzz {

u64 Model::alignment(u32 ioas) const {
  const Ioas& s = ioases.at(ioas);
  const bool pinned =
      std::ranges::any_of(accesses, [&](const auto& a) { return a.second.ioas == ioas && a.second.pins; });
  return s.domains.empty() && s.huge_pages && !pinned ? 1 : kPageSize;
}

// Nothing changes unless it rises from `now`.
Answer Model::can_align(const Ioas& s, u64 alignment, u64 now) const {
  if (alignment <= now) return {};
  for (const auto& area : s.areas)
    if (!is_aligned(area.first | length_of(area) | area.second.va, alignment)) return Errno::kAddrInUse;
  return {};
}

Answer Model::can_reserve(const Ioas& s, const IovaRange& range) {
  const auto meets = [&](const IovaRange& a) { return a.start <= range.last && range.start <= a.last; };
  if (overlaps(s, range.start, range.last) || std::ranges::any_of(s.allowed, meets)) return Errno::kAddrInUse;
  return {};
}

bool Model::is_reserved(const Ioas& s, u64 start, u64 last) {
  return std::ranges::any_of(s.reserved, [&](const auto& r) { return r.first.start <= last && start <= r.first.last; });
}

// The maximal runs of [start, last] that nothing in `used` touches.
std::vector<IovaRange> Model::holes(std::vector<IovaRange> used, u64 start, u64 last) {
  std::ranges::sort(used, {}, &IovaRange::start);
  std::vector<IovaRange> out;
  u64 at = start;
  for (const IovaRange& u : used) {
    if (u.last < at) continue;
    if (u.start > last) break;
    if (u.start > at) out.push_back({at, u.start - 1});
    if (u.last >= last) return out;
    at = u.last + 1;
  }
  out.push_back({at, last});
  return out;
}

std::vector<IovaRange> Model::usable(const Ioas& s) {
  std::vector<IovaRange> used;
  for (const auto& [range, owner] : s.reserved) used.push_back(range);
  return holes(used, 0, kMax);
}

// 3.5, step by step.
Result<u64> Model::allocate(u32 ioas, u64 length, u64 hint) const {
  const Ioas& s = ioases.at(ioas);
  if (length >= kMax / 2) return Err(Errno::kOverflow);  // 1
  u64 align = std::bit_ceil(length);                     // 2
  if (hint != 0) align = std::min(align, hint & (~hint + 1));
  align = std::min(align, SandboxMemory::kHugeSize);
  if (align < alignment(ioas)) return Err(Errno::kInval);  // 3
  const u64 offset = hint & kPageMask;                     // 4
  // Where the request goes in [start, last], which is free or a window.
  const auto fit = [&](u64 start, u64 last) -> std::optional<u64> {
    if (start > kMax - (align - 1)) return {};
    const u64 at = ((start + (align - 1)) & ~(align - 1)) | offset;
    if (at >= last || last - at < length - 1) return {};
    return at;
  };
  std::vector<IovaRange> windows{{kPageSize, kMax - kPageSize}};  // 5
  if (!s.allowed.empty()) {
    windows.clear();
    std::vector<IovaRange> allowed = s.allowed;
    std::ranges::sort(allowed, {}, &IovaRange::start);
    for (const IovaRange& a : allowed) {
      if (!windows.empty() && windows.back().last + 1 == a.start)
        windows.back().last = a.last;
      else
        windows.push_back(a);
    }
  }
  std::vector<IovaRange> used;
  for (const auto& [range, owner] : s.reserved) used.push_back(range);
  for (const auto& [start, area] : s.areas) used.push_back({start, area.last});
  for (const IovaRange& window : windows) {
    const u64 last = std::min(window.last, kMax - kPageSize);
    const u64 start = std::max(window.start, kPageSize);
    if (start > last) continue;
    const std::optional<u64> from = fit(start, last);  // 6
    if (!from) continue;
    for (const IovaRange& gap : holes(used, *from, last))  // 7
      if (const std::optional<u64> at = fit(gap.start, gap.last)) return *at;
  }
  return Err(Errno::kNoSpc);  // 8
}

Result<u64> Model::place(u32 ioas, std::optional<u64> fixed, u64 length, u64 hint) const {
  const Ioas& s = ioases.at(ioas);
  const u64 g = alignment(ioas);
  if (!is_aligned(length, g)) return Err(Errno::kInval);
  if (!fixed) return allocate(ioas, length, hint);
  if (!is_aligned(*fixed, g)) return Err(Errno::kInval);
  if (*fixed > kMax - (length - 1)) return Err(Errno::kOverflow);
  const u64 last = *fixed + (length - 1);
  if (is_reserved(s, *fixed, last)) return Err(Errno::kInval);
  if (overlaps(s, *fixed, last)) return Err(Errno::kExist);
  return *fixed;
}

Areas::const_iterator Model::area_at(const Ioas& s, u64 iova) {
  auto it = s.areas.upper_bound(iova);
  if (it == s.areas.begin()) return s.areas.end();
  --it;
  return iova <= it->second.last ? it : s.areas.end();
}

bool Model::overlaps(const Ioas& s, u64 start, u64 last) {
  const auto it = s.areas.lower_bound(start);
  return (it != s.areas.end() && it->first <= last) || area_at(s, start) != s.areas.end();
}

}  // namespace iommufd::fuzz

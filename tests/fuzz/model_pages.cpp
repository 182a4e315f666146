// SPDX-License-Identifier: BSD-3-Clause
// What is pinned and charged, and the areas (spec iommufd-core 3.8 to 3.10, 4.2, 4.4, 4.6, 4.7).
#include "tests/fuzz/model.hpp"

namespace iommufd::fuzz {
namespace {

// May the pages of `p` from byte `va` on be pinned (4.2: to write only when they were mapped for it)?
Answer reachable(const Pages& p, u64 va) {
  if (p.file >= 0) {
    const bool whole = p.file == SandboxFile::kNumber && va / kPageSize < SandboxFile::kWholePages;
    return whole ? Answer{} : Errno::kInval;  // 3.6: the kind of file, its end
  }
  const Access have = SandboxMemory::access(va);
  return allows(have, p.writable ? Access::kReadWrite : Access::kRead) ? Answer{} : Errno::kFault;
}

}  // namespace

PinnedPages Model::pinned() const {
  PinnedPages out;
  const auto add = [&](u64 start, const Area& area, u64 from, u64 last) {
    const u64 first = (area.va + (from - start)) / kPageSize;
    const u64 end = (area.va + (last - start)) / kPageSize;
    for (u64 page = first; page <= end; ++page) out.insert({area.pages.get(), page});
  };
  for (const auto& [id, s] : ioases)
    if (!s.domains.empty())
      for (const auto& [start, area] : s.areas) add(start, area, start, area.last);
  for (const auto& [id, access] : accesses) {
    if (access.items.empty()) continue;
    const Ioas& s = ioases.at(access.ioas);
    for (const auto& [number, range] : access.items) {
      for (u64 at = range.start;;) {
        const auto it = area_at(s, at);
        const u64 last = std::min(it->second.last, range.last);
        add(it->first, it->second, at, last);
        if (last == range.last) break;
        at = last + 1;
      }
    }
  }
  return out;
}

Model::Charges Model::charges(const PinnedPages& pages) {
  Charges out;
  for (const PinnedPage& p : pages) {
    ++out.pinned[p.pages->process];
    if (p.pages->charge == ChargeTo::kUser) ++out.user;
    if (p.pages->charge == ChargeTo::kProcess) ++out.locked[p.pages->process];
  }
  return out;
}

Answer Model::pin(PinnedPages& held, u64 start, const Area& area, u64 from, u64 last, bool for_domain) const {
  const bool unreadable = for_domain && area.access == Access::kNone;  // the page table says so (6.4)
  // What no memory reaches, the engine does not try; beneath, it keeps eight bytes and more per page, and the heap of the
  // fuzzers (heap.cpp) refuses more than 64 MiB.
  constexpr u64 kLargest = u64{1} << 47;
  constexpr u64 kMostPages = (u64{64} << 20) / sizeof(u64);
  const Pages& backing = *area.pages;
  if (backing.start > kLargest || backing.count > kLargest / kPageSize)
    return backing.file >= 0 ? Errno::kInval : Errno::kFault;
  if (backing.count > kMostPages) return unreadable ? Errno::kInval : Errno::kNoMem;
  PinnedPages more;
  const u64 end = (area.va + (last - start)) / kPageSize;
  for (u64 page = (area.va + (from - start)) / kPageSize; page <= end; ++page) {
    const PinnedPage one{area.pages.get(), page};
    if (held.contains(one)) continue;
    if (const Answer no = reachable(*area.pages, page * kPageSize)) return no;
    more.insert(one);
  }
  if (unreadable) return Errno::kInval;
  const u64 count = more.size();
  held.merge(more);
  if (count == 0) return {};
  const Charges sum = charges(held);
  const u64 limit = limits[area.pages->process];
  if (area.pages->charge == ChargeTo::kUser && sum.user > limit) return Errno::kNoMem;
  if (area.pages->charge == ChargeTo::kProcess && sum.locked[area.pages->process] > limit) return Errno::kNoMem;
  return {};
}

Answer Model::can_fill(const Areas& areas) const {
  PinnedPages held = pinned();
  for (const auto& [start, area] : areas)
    if (const Answer no = pin(held, start, area, start, area.last, true)) return no;
  return {};
}

// 3.10: memory of files only; each backing counts once, and what it holds is charged before the old owner is let go.
Answer Model::change_process(std::size_t to) {
  std::set<Pages*> all;
  for (const auto& [id, s] : ioases) {
    for (const auto& [start, area] : s.areas) {
      if (area.pages->file < 0) return Errno::kInval;
      all.insert(area.pages.get());
    }
  }
  const PinnedPages now = pinned();
  const Charges before = charges(now);
  u64 user = 0, process = 0;
  for (const PinnedPage& p : now) {
    if (p.pages->process == to) continue;
    user += p.pages->charge == ChargeTo::kUser ? 1 : 0;
    process += p.pages->charge == ChargeTo::kProcess ? 1 : 0;
  }
  if (user != 0 && before.user + user > limits[to]) return Errno::kNoMem;
  if (process != 0 && before.locked[to] + process > limits[to]) return Errno::kNoMem;
  for (Pages* pages : all) pages->process = to;
  return {};
}

void Model::add_areas(u32 ioas, Areas made) {
  Ioas& s = ioases.at(ioas);
  for (const u32 hwpt : s.hwpts) fill_entries(s, hwpts.at(hwpt), made);
  s.areas.merge(made);
}

Answer Model::unmap(u32 ioas, u64 start, u64 last, u64& bytes) {
  Ioas& s = ioases.at(ioas);
  bytes = 0;
  if (const auto before = area_at(s, start); before != s.areas.end() && before->first < start) return Errno::kNoEnt;
  for (auto it = s.areas.lower_bound(start); it != s.areas.end() && it->first <= last;) {
    if (it->second.last > last) return Errno::kNoEnt;
    drop_items(ioas, it->first, it->second.last);
    forget_entries(s, it->first, it->second.last);
    bytes += length_of(*it);
    it = s.areas.erase(it);
  }
  return {};
}

// The accesses are asked to unpin what lies there (4.6); those of the test ABI drop whole items.
void Model::drop_items(u32 ioas, u64 start, u64 last) {
  for (auto& [id, access] : accesses)
    if (access.ioas == ioas)
      std::erase_if(access.items, [&](const auto& i) { return i.second.start <= last && start <= i.second.last; });
}

Answer Model::cut_after(u32 ioas, u64 last) {
  Ioas& s = ioases.at(ioas);
  const auto it = area_at(s, last);
  if (it == s.areas.end() || last == it->second.last || last == it->first) return {};
  const u64 start = it->first;
  Area right = it->second;
  right.va += last + 1 - start;
  if (!is_aligned((last + 1) | right.va, alignment(ioas))) return Errno::kInval;
  for (const auto& [id, access] : accesses) {
    if (access.ioas != ioas) continue;
    for (const auto& [number, item] : access.items)
      if (item.start <= right.last && start <= item.last) return Errno::kInval;
  }
  s.areas.at(start).last = last;
  s.areas.emplace(last + 1, right);
  return {};
}

Answer Model::set_huge_pages(u32 ioas, bool on) {
  Ioas& s = ioases.at(ioas);
  if (!on && s.huge_pages) {
    if (!s.domains.empty() && !s.areas.empty()) return Errno::kInval;
    if (const Answer no = can_align(s, kPageSize, alignment(ioas))) return no;
  }
  s.huge_pages = on;
  return {};
}

}  // namespace iommufd::fuzz

// SPDX-License-Identifier: BSD-3-Clause
// The oracle of map_fuzz: two I/O address spaces as std::map, the HWPTs in them, and who is attached. It knows rules,
// not mechanisms: what is mapped where, what must be pinned, which call must fail (spec iommufd-core 3, 5; noiommu 9).
// Everything is page granular and far from the reserved ranges.
#pragma once

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "tests/fuzz/sandbox.hpp"

namespace iommufd::fuzz {

enum class Manager : u8 { kAmd, kVtd, kNone };
constexpr std::array<Manager, Machine::kDevices> kManagers{Manager::kAmd, Manager::kAmd, Manager::kVtd, Manager::kNone};

// One MAP call: pages are shared by the areas that COPY makes of it.
struct Backing {
  u64 id = 0;
  bool writable = false;
};
struct Area {
  u64 last = 0;
  u64 va = 0;  // of the first byte
  Access access = Access::kNone;
  Backing backing;
};
using Areas = std::map<u64, Area>;  // by first IOVA

struct Hwpt {
  u32 id = 0;
  std::size_t space = 0;
  Manager manager = Manager::kNone;
  bool automatic = false;
  u32 users = 0;
};

class Model {
 public:
  static constexpr std::size_t kSpaces = 2;
  // Sorted: backing in the upper half, page of the client in the lower.
  using PinnedPages = std::vector<u64>;

  std::array<Areas, kSpaces> spaces;
  std::vector<Hwpt> hwpts;                                       // in creation order
  std::array<std::optional<u32>, Machine::kDevices> attached{};  // id of the HWPT
  u64 limit = mem::kUnlimitedPages;

  [[nodiscard]] Hwpt* hwpt(u32 id) {
    const auto it = std::find_if(hwpts.begin(), hwpts.end(), [&](const Hwpt& h) { return h.id == id; });
    return it == hwpts.end() ? nullptr : &*it;
  }
  [[nodiscard]] bool has_domain(std::size_t space) const {
    return std::any_of(hwpts.begin(), hwpts.end(), [&](const Hwpt& h) { return h.space == space; });
  }

  // The area at `iova`, or the end.
  [[nodiscard]] Areas::const_iterator area_at(std::size_t space, u64 iova) const {
    const Areas& areas = spaces[space];
    auto it = areas.upper_bound(iova);
    if (it == areas.begin()) return areas.end();
    --it;
    return iova <= it->second.last ? it : areas.end();
  }
  [[nodiscard]] bool overlaps(std::size_t space, u64 start, u64 last) const {
    const auto it = spaces[space].lower_bound(start);
    return (it != spaces[space].end() && it->first <= last) || area_at(space, start) != spaces[space].end();
  }

  // What must be pinned now.
  [[nodiscard]] PinnedPages pinned() const {
    PinnedPages pages;
    for (std::size_t s = 0; s < kSpaces; ++s)
      if (has_domain(s))
        for (const auto& [start, area] : spaces[s]) add_pages(pages, start, area);
    sort_unique(pages);
    return pages;
  }
  // Can the areas be pinned, beside what is? (EFAULT or ENOMEM otherwise.)
  [[nodiscard]] bool can_pin(const Areas& areas) const {
    const PinnedPages before = pinned();
    PinnedPages pages = before;
    for (const auto& [start, area] : areas) {
      for (u64 at = 0; at <= area.last - start; at += kPageSize) {
        if (std::binary_search(before.begin(), before.end(), page_of(area, at))) continue;
        const Access want = area.backing.writable ? Access::kReadWrite : Access::kRead;
        if (!allows(SandboxMemory::access(area.va + at), want)) return false;
      }
      add_pages(pages, start, area);
    }
    sort_unique(pages);
    return pages.size() == before.size() || pages.size() <= limit;
  }

  // First fit (3.5): the lowest IOVA for `length` bytes at `va`. Only what page-granular requests need of it.
  [[nodiscard]] u64 first_fit(std::size_t space, u64 va, u64 length) const {
    u64 align = std::bit_ceil(length);
    if (va != 0) align = std::min(align, va & (~va + 1));
    align = std::min(align, SandboxMemory::kHugeSize);
    u64 at = (kPageSize + align - 1) / align * align;
    while (overlaps(space, at, at + length - 1)) at += align;
    return at;
  }

  // The HWPT that attaching `device` to `target` (a space, or a HWPT) uses; no id: a new automatic one.
  struct Choice {
    bool refused = false;
    std::optional<u32> id = {};
  };
  [[nodiscard]] Choice choose(std::size_t device, const Hwpt& candidate) const {
    const Manager mine = kManagers[device];
    // Nobody asks a device without an IOMMU whose domain it gets.
    if (mine == Manager::kNone || candidate.manager == mine) return {.id = candidate.id};
    return {.refused = true};
  }
  [[nodiscard]] Choice choose_automatic(std::size_t device, std::size_t space) const {
    for (const Hwpt& h : hwpts) {
      if (h.space != space || !h.automatic) continue;
      if (const Choice c = choose(device, h); !c.refused) return c;
      // A replace that meets the software domain fails hard; an attach tries the next.
      if (h.manager == Manager::kNone && attached[device]) return {.refused = true};
    }
    return {};
  }
  void detach(std::size_t device) {
    if (!attached[device]) return;
    drop(*std::exchange(attached[device], std::nullopt));
  }
  void attach(std::size_t device, u32 id) {
    ++hwpt(id)->users;
    detach(device);
    attached[device] = id;
  }

 private:
  static void add_pages(PinnedPages& pages, u64 start, const Area& area) {
    for (u64 at = 0; at <= area.last - start; at += kPageSize) pages.push_back(page_of(area, at));
  }
  static u64 page_of(const Area& area, u64 at) { return area.backing.id << 32 | (area.va + at) / kPageSize; }
  static void sort_unique(PinnedPages& pages) {
    std::sort(pages.begin(), pages.end());
    pages.erase(std::unique(pages.begin(), pages.end()), pages.end());
  }
  void drop(u32 id) {
    Hwpt* h = hwpt(id);
    if (--h->users == 0 && h->automatic) hwpts.erase(hwpts.begin() + (h - hwpts.data()));
  }
};

}  // namespace iommufd::fuzz

// SPDX-License-Identifier: BSD-3-Clause
// Orders that carry the proof, all sequentially consistent: insert() makes its set's version odd, then looks at the
// generation; invalidate() raises the generation, then looks at the versions. So either insert() sees that its walk is too old,
// or invalidate() finds the set being written and waits for the entry that it has to drop. `sizes_` works the same way.
#include "iommu/iotlb.hpp"

#include <thread>

namespace iommufd::iommu {
namespace {

constexpr IovaRange range_of(u64 tag) {
  const auto lg2 = static_cast<unsigned>(tag & 63);
  const u64 start = tag >> 6 << lg2;
  return {start, start + ((u64{1} << lg2) - 1)};
}

}  // namespace

bool Iotlb::try_lock(Set& set) noexcept {
  u64 version = set.version.load(std::memory_order_relaxed);
  return (version & 1) == 0 && set.version.compare_exchange_strong(version, version + 1, std::memory_order_seq_cst);
}

void Iotlb::lock(Set& set) noexcept {
  for (unsigned spins = 0; !try_lock(set); ++spins)
    if (spins > 64) std::this_thread::yield();
}

void Iotlb::unlock(Set& set) noexcept {
  set.version.store(set.version.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

void Iotlb::insert(u64 generation, const Entry& entry) noexcept {
  if (entry.lg2 < kSmallestLg2) return;
  const u64 size = u64{1} << entry.lg2;
  if ((sizes_.load(std::memory_order_seq_cst) & size) == 0) sizes_.fetch_or(size, std::memory_order_seq_cst);
  Set& set = sets_[index_of(entry.start >> entry.lg2)];
  if (!try_lock(set)) return;
  if (generation_.load(std::memory_order_seq_cst) == generation) {
    const u64 tag = tag_of(entry.start, entry.lg2);
    unsigned way = kWays;
    for (unsigned i = 0; i < kWays; ++i) {
      const u64 have = set.tags[i].load(std::memory_order_relaxed);
      if (have == tag) {
        way = i;
        break;
      }
      if (have == 0) way = i;
    }
    if (way == kWays) way = set.victim++ % kWays;
    // Released, so that who reads one of them sees the version odd, or later.
    set.tags[way].store(tag, std::memory_order_release);
    set.data[way].store(entry.pa.raw() | static_cast<u64>(entry.access) | (entry.dirty ? kDirty : 0),
                        std::memory_order_release);
  }
  unlock(set);
}

void Iotlb::drop(Set& set, IovaRange range) noexcept {
  const auto hit = [&](u64 tag) {
    if (tag == 0) return false;
    const IovaRange item = range_of(tag);
    return item.start <= range.last && range.start <= item.last;
  };
  while ((set.version.load(std::memory_order_seq_cst) & 1) != 0) std::this_thread::yield();
  bool any = false;
  for (const std::atomic<u64>& tag : set.tags) any |= hit(tag.load(std::memory_order_acquire));
  if (!any) return;
  lock(set);
  u64 dropped = 0;
  for (std::atomic<u64>& tag : set.tags) {
    if (!hit(tag.load(std::memory_order_relaxed))) continue;
    tag.store(0, std::memory_order_release);
    ++dropped;
  }
  unlock(set);
  invalidated_.fetch_add(dropped, std::memory_order_relaxed);
}

void Iotlb::invalidate(IovaRange range) noexcept {
  generation_.fetch_add(1, std::memory_order_seq_cst);
  const u64 sizes = sizes_.load(std::memory_order_seq_cst);
  // Item by item while that is less work than looking at every set.
  u64 items = 0;
  for (u64 left = sizes; left != 0 && items <= kSets; left &= left - 1) {
    const auto lg2 = static_cast<unsigned>(std::countr_zero(left));
    items += std::min<u64>((range.last >> lg2) - (range.start >> lg2), kSets) + 1;
  }
  if (items > kSets) {
    for (Set& set : sets_) drop(set, range);
    return;
  }
  for (u64 left = sizes; left != 0; left &= left - 1) {
    const auto lg2 = static_cast<unsigned>(std::countr_zero(left));
    for (u64 item = range.start >> lg2; item <= range.last >> lg2; ++item) drop(sets_[index_of(item)], range);
  }
}

}  // namespace iommufd::iommu

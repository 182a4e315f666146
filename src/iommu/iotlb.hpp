// SPDX-License-Identifier: BSD-3-Clause
// The IOTLB of one device: translations that it has used, so that the next DMA to the same place walks no page table.
//
// An entry covers one item of a page table (Translation::item_lg2), because accessed and dirty bits are an item's. It stands
// for what the table said when a walk began; whoever changes the table invalidates afterwards, and a walk that began before an
// invalidation enters nothing. So an entry that is found was valid when the transaction began, and unmap, which waits for
// transactions, is exact.
//
// Sets of three ways, each in one cache line. A set is read between two looks at its version and written with the version
// odd. Items of different sizes share the sets: a lookup tries each size that the device has met.
//
// Thread-safe, also one device's several threads: find(), generation() and insert() inside a DMA transaction of the device,
// invalidate() at any time.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <optional>

#include "base/types.hpp"
#include "pt/table.hpp"

namespace iommufd::iommu {

// Since the device was made.
struct IotlbCounters {
  u64 hits = 0;         // lookups that it answered
  u64 misses = 0;       // lookups that walked
  u64 walks = 0;        // walks of the page table: misses, and writes that set a dirty bit
  u64 invalidated = 0;  // entries that were dropped because their range was
  friend bool operator==(const IotlbCounters&, const IotlbCounters&) = default;
};

class Iotlb {
 public:
  // What a page table said about one item.
  struct Entry {
    u64 start = 0;  // IOVA, a multiple of the item's size
    PhysAddr pa;    // of the first byte
    unsigned lg2 = 0;
    Access access = Access::kNone;
    bool dirty = false;  // its dirty bit is set: a write need not set it
    friend bool operator==(const Entry&, const Entry&) = default;
  };

  Iotlb() = default;
  Iotlb(const Iotlb&) = delete;
  Iotlb& operator=(const Iotlb&) = delete;

  [[nodiscard]] std::optional<Entry> find(u64 iova) const noexcept {
    for (u64 sizes = sizes_.load(std::memory_order_relaxed); sizes != 0; sizes &= sizes - 1) {
      const auto lg2 = static_cast<unsigned>(std::countr_zero(sizes));
      const Set& set = sets_[index_of(iova >> lg2)];
      const u64 tag = tag_of(iova, lg2);
      const u64 version = set.version.load(std::memory_order_acquire);
      for (unsigned way = 0; way < kWays; ++way) {
        if (set.tags[way].load(std::memory_order_acquire) != tag) continue;
        const u64 data = set.data[way].load(std::memory_order_acquire);
        if (set.version.load(std::memory_order_relaxed) != version || (version & 1) != 0) [[unlikely]]
          break;  // it is being written: as good as a miss
        return Entry{iova >> lg2 << lg2, PhysAddr{data & ~kFlags}, lg2, static_cast<Access>(data & kAccess),
                     (data & kDirty) != 0};
      }
    }
    return std::nullopt;
  }

  // Of the translations: to be asked before a walk begins, and given back with what it found.
  [[nodiscard]] u64 generation() const noexcept { return generation_.load(std::memory_order_acquire); }
  // Enters what a walk found, in place of an older entry, unless something was invalidated since `generation`.
  void insert(u64 generation, const Entry& entry) noexcept;

  // Drops every entry that translates a byte of the range, whichever walk brings it.
  void invalidate(IovaRange range) noexcept;
  void invalidate_all() noexcept { invalidate({0, ~u64{0}}); }

  // Entries that invalidate() has dropped.
  [[nodiscard]] u64 invalidated() const noexcept { return invalidated_.load(std::memory_order_relaxed); }

  static constexpr unsigned kWays = 3;
  static constexpr unsigned kSets = 128;

 private:
  static constexpr u64 kAccess = 3;
  static constexpr u64 kDirty = 4;
  static constexpr u64 kFlags = kAccess | kDirty;
  static constexpr unsigned kSmallestLg2 = 6;  // tags and flags need the room

  struct alignas(64) Set {
    std::atomic<u64> version{0};                 // odd: being written
    std::array<std::atomic<u64>, kWays> tags{};  // 0: empty
    std::array<std::atomic<u64>, kWays> data{};
    u32 victim = 0;  // guarded by an odd version
  };
  static constexpr u64 tag_of(u64 iova, unsigned lg2) { return (iova >> lg2 << kSmallestLg2) | lg2; }
  static constexpr std::size_t index_of(u64 item) { return (item ^ item / kSets) % kSets; }
  // Locks a set for writing; nothing when somebody else has.
  static bool try_lock(Set& set) noexcept;
  static void lock(Set& set) noexcept;
  static void unlock(Set& set) noexcept;
  void drop(Set& set, IovaRange range) noexcept;

  std::atomic<u64> sizes_{0};  // lg2 of the items that were ever entered, one bit each
  std::atomic<u64> generation_{0};
  std::array<Set, kSets> sets_;
  std::atomic<u64> invalidated_{0};
};

}  // namespace iommufd::iommu

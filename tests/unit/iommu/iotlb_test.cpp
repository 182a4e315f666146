// SPDX-License-Identifier: BSD-3-Clause
#include "iommu/iotlb.hpp"

#include <gtest/gtest.h>

namespace iommufd::iommu {
namespace {

using Entry = Iotlb::Entry;

constexpr u64 k4K = u64{1} << 12, k2M = u64{1} << 21, k1G = u64{1} << 30;

Entry small(u64 start, u64 pa, bool dirty = false) { return {start, PhysAddr{pa}, 12, Access::kReadWrite, dirty}; }
Entry large(u64 start, u64 pa) { return {start, PhysAddr{pa}, 21, Access::kRead, false}; }
void put(Iotlb& tlb, const Entry& entry) { tlb.insert(tlb.generation(), entry); }

TEST(Iotlb, finds_what_was_entered_and_nothing_else) {
  Iotlb tlb;
  EXPECT_EQ(tlb.find(0), std::nullopt);
  const u64 far = u64{0} - k4K;  // a sign-extended address
  put(tlb, small(5 * k4K, 0x7000));
  put(tlb, large(3 * k2M, k1G));
  put(tlb, small(far, 0xa000, true));
  EXPECT_EQ(tlb.find(5 * k4K), small(5 * k4K, 0x7000));
  EXPECT_EQ(tlb.find(5 * k4K + 0xfff), small(5 * k4K, 0x7000));
  EXPECT_EQ(tlb.find(3 * k2M + 0x12345), large(3 * k2M, k1G));
  EXPECT_EQ(tlb.find(far + 8), small(far, 0xa000, true));
  for (const u64 none : {u64{0}, 4 * k4K, 6 * k4K, 3 * k2M - 1, 4 * k2M, far - 1})
    EXPECT_EQ(tlb.find(none), std::nullopt) << none;
}

TEST(Iotlb, an_item_has_one_entry) {
  Iotlb tlb;
  put(tlb, small(k4K, 0x7000));
  put(tlb, small(k4K, 0x7000, true));
  EXPECT_EQ(tlb.find(k4K), small(k4K, 0x7000, true));
  tlb.invalidate({k4K, k4K});
  EXPECT_EQ(tlb.find(k4K), std::nullopt);
  EXPECT_EQ(tlb.invalidated(), 1u);
}

TEST(Iotlb, invalidation_is_exact) {
  for (const u64 pages : {u64{1}, u64{7}, u64{40}, u64{300}}) {
    Iotlb tlb;
    const u64 first = 1000, after = first + pages;
    for (const u64 page : {first - 1, first, after - 1, after}) put(tlb, small(page * k4K, page * k4K));
    put(tlb, large(k2M * 40, 0));
    tlb.invalidate({first * k4K + 5, after * k4K - 5});
    EXPECT_TRUE(tlb.find((first - 1) * k4K)) << pages;
    EXPECT_TRUE(tlb.find(after * k4K)) << pages;
    EXPECT_FALSE(tlb.find(first * k4K)) << pages;
    EXPECT_FALSE(tlb.find((after - 1) * k4K)) << pages;
    EXPECT_TRUE(tlb.find(k2M * 40)) << pages;
    EXPECT_EQ(tlb.invalidated(), pages == 1 ? 1u : 2u);
  }
}

TEST(Iotlb, a_part_of_a_large_item_drops_all_of_it) {
  Iotlb tlb;
  put(tlb, large(k2M, 0));
  put(tlb, large(2 * k2M, 0));
  tlb.invalidate({k2M + 17 * k4K, k2M + 18 * k4K - 1});
  EXPECT_FALSE(tlb.find(k2M));
  EXPECT_TRUE(tlb.find(2 * k2M));
}

TEST(Iotlb, all_addresses_are_a_range_too) {
  Iotlb tlb;
  for (u64 page = 0; page < 2 * Iotlb::kSets; ++page) put(tlb, small(page * k4K, 0));
  put(tlb, small(u64{0} - k4K, 0));
  put(tlb, large(k1G, 0));
  tlb.invalidate_all();
  for (u64 page = 0; page < 2 * Iotlb::kSets; ++page) EXPECT_FALSE(tlb.find(page * k4K));
  EXPECT_FALSE(tlb.find(u64{0} - 1));
  EXPECT_FALSE(tlb.find(k1G));
}

// The walk began before the invalidation: nobody knows what it saw.
TEST(Iotlb, a_walk_that_is_too_old_enters_nothing) {
  Iotlb tlb;
  const u64 before = tlb.generation();
  tlb.invalidate({k1G, k1G});
  tlb.insert(before, small(k4K, 0));
  EXPECT_FALSE(tlb.find(k4K));
  put(tlb, small(k4K, 0));
  EXPECT_TRUE(tlb.find(k4K));
}

TEST(Iotlb, holds_a_working_set_and_forgets_the_rest) {
  Iotlb tlb;
  constexpr u64 kPages = Iotlb::kSets * Iotlb::kWays;
  for (u64 page = 0; page < 10 * kPages; ++page) put(tlb, small(page * k4K, page * k4K));
  u64 found = 0;
  for (u64 page = 0; page < 10 * kPages; ++page) {
    const std::optional<Entry> entry = tlb.find(page * k4K);
    if (!entry) continue;
    ++found;
    EXPECT_EQ(entry->pa.raw(), page * k4K);
  }
  EXPECT_EQ(found, kPages);
  EXPECT_EQ(tlb.invalidated(), 0u);
}

}  // namespace
}  // namespace iommufd::iommu

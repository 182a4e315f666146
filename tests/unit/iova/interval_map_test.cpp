// SPDX-License-Identifier: BSD-3-Clause
#include "iova/interval_map.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <vector>

namespace iommufd::iova {
namespace {

constexpr u64 kMax = ~u64{0};

// What next_gap() promises, by looking at every interval.
std::optional<IovaRange> slow_next_gap(const std::map<u64, u64>& by_start, u64 from, u64 length) {
  u64 at = from;
  for (const auto& [start, last] : by_start) {
    if (last < at) continue;
    if (start > at && start - at >= length) return IovaRange{at, start - 1};
    if (last == kMax) return std::nullopt;
    at = last + 1;
  }
  if (kMax - at < length - 1) return std::nullopt;
  return IovaRange{at, kMax};
}

TEST(IntervalMap, finds_what_intersects) {
  IntervalMap<int> m;
  m.insert(0x1000, 0x1fff, 1);
  m.insert(0x4000, 0x4fff, 2);
  EXPECT_EQ(m.find(0, 0xfff), m.end());
  EXPECT_EQ(m.find(0, 0x1000)->value, 1);
  EXPECT_EQ(m.find(0x1fff, kMax)->value, 1);
  EXPECT_EQ(m.find(0x2000, 0x3fff), m.end());
  EXPECT_EQ(m.find(0x2000, 0x4000)->value, 2);
  EXPECT_FALSE(m.overlaps(0x5000, kMax));
  EXPECT_EQ(m.size(), 2u);
}

TEST(IntervalMap, moves_and_swaps) {
  IntervalMap<int> a, b;
  a.insert(1, 2, 3);
  b = std::move(a);
  EXPECT_EQ(b.find(1, 1)->value, 3);
  IntervalMap<int> c(std::move(b));
  EXPECT_EQ(c.next_gap(0, 1), (IovaRange{0, 0}));
  EXPECT_EQ(c.next_gap(1, 1), (IovaRange{3, kMax}));
}

TEST(IntervalMap, gaps_at_the_ends_of_the_space) {
  IntervalMap<int> m;
  EXPECT_EQ(m.next_gap(0, kMax), (IovaRange{0, kMax}));
  m.insert(0, 0, 1);
  m.insert(kMax, kMax, 2);
  EXPECT_EQ(m.next_gap(0, kMax - 1), (IovaRange{1, kMax - 1}));
  EXPECT_EQ(m.next_gap(0, kMax), std::nullopt);
  EXPECT_EQ(m.next_gap(kMax, 1), std::nullopt);
  m.insert(1, kMax - 1, 3);
  EXPECT_EQ(m.next_gap(0, 1), std::nullopt);
}

TEST(IntervalMap, gaps_are_those_that_a_walk_finds) {
  std::mt19937_64 random(7);
  const auto below = [&](u64 n) { return random() % n; };
  IntervalMap<u64> m;
  std::map<u64, u64> model;  // last by start
  constexpr u64 kSpace = 4096;
  for (int step = 0; step < 60'000; ++step) {
    const u64 start = below(kSpace), last = start + below(12);
    switch (below(5)) {
      case 0:
      case 1:
        if (m.overlaps(start, last)) break;
        m.insert(start, last, start);
        model[start] = last;
        break;
      case 2:
        if (const auto it = m.find(start, last); it != m.end()) {
          model.erase(it->start);
          m.erase(it);
        }
        break;
      case 3:
        if (const auto it = m.find(start, start); it != m.end() && it->last != start) {
          const u64 first = it->start, end = it->last;
          m.split(it, start, first);
          model[first] = start;
          model[start + 1] = end;
        }
        break;
      default:
        for (const u64 length : {u64{1}, u64{2}, 1 + below(40), kMax - kSpace}) {
          EXPECT_EQ(m.next_gap(start, length), slow_next_gap(model, start, length)) << step;
        }
    }
    ASSERT_EQ(m.size(), model.size());
    if (HasFailure()) break;
  }
  auto expected = model.begin();
  for (const auto [start, last, value] : m) {
    EXPECT_EQ(start, expected->first);
    EXPECT_EQ(last, (expected++)->second);
  }
}

// Several levels deep: by all orders of insertion, and emptied again by all orders of erasure.
TEST(IntervalMap, grows_and_shrinks) {
  constexpr u64 kCount = 30'000;
  enum class Order : u8 { kUp, kDown, kRandom };
  const auto starts = [](Order order) {
    std::vector<u64> v(kCount);
    for (u64 i = 0; i < kCount; ++i) v[i] = (order == Order::kDown ? kCount - 1 - i : i) * 4;
    if (order == Order::kRandom) std::ranges::shuffle(v, std::mt19937_64(3));
    return v;
  };
  for (const Order in : {Order::kUp, Order::kDown, Order::kRandom}) {
    for (const Order out : {Order::kUp, Order::kDown, Order::kRandom}) {
      IntervalMap<std::unique_ptr<u64>> m;
      for (const u64 at : starts(in)) m.insert(at, at + 2, std::make_unique<u64>(at));
      u64 expected = 0;
      for (const auto [start, last, value] : m) {
        ASSERT_EQ(start, expected);
        ASSERT_EQ(last, start + 2);
        ASSERT_EQ(*value, start);
        expected += 4;
      }
      EXPECT_EQ(expected, kCount * 4);
      EXPECT_EQ(m.next_gap(0, 2), (IovaRange{kCount * 4 - 1, kMax}));
      // Every erased interval leaves the one long gap there is, until there are more.
      std::set<u64> gone;
      for (const u64 at : starts(out)) {
        const auto it = m.find(at, at);
        ASSERT_TRUE(it != m.end());
        ASSERT_EQ(*it->value, at);
        m.erase(it);
        gone.insert(at);
        const u64 lowest = *gone.begin();
        u64 end = lowest;
        while (gone.contains(end) && end - lowest < 16) end += 4;
        const auto gap = m.next_gap(0, 4);
        ASSERT_TRUE(gap);
        ASSERT_EQ(gap->start, lowest == 0 ? 0 : lowest - 1);
        ASSERT_GE(gap->last, end - 1);
        ASSERT_EQ(m.size(), kCount - gone.size());
      }
      EXPECT_EQ(m.begin(), m.end());
    }
  }
}

}  // namespace
}  // namespace iommufd::iova

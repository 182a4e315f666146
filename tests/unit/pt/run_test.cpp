// SPDX-License-Identifier: BSD-3-Clause
// Many items at once: every start within a pack and every count, with neighbours that have to stay as they are.
#include "pt/engine/run.hpp"

#include <gtest/gtest.h>

#include <array>

namespace iommufd::pt::test {
namespace {

constexpr u64 kNeighbour = 0x5555'aaaa'5555'aaaa;
constexpr unsigned kMaxCount = 5 * Block::kItems + 1;

struct Items {
  explicit Items(unsigned start) : start(start) { all.fill(kNeighbour); }
  [[nodiscard]] u64* first() { return &all.at(start); }
  // Whether there are `count` items value(0), value(1), ... between neighbours.
  [[nodiscard]] bool hold(unsigned count, auto&& value) const {
    for (unsigned i = 0; i < all.size(); ++i) {
      const bool inside = i >= start && i < start + count;
      if (all.at(i) != (inside ? value(i - start) : kNeighbour)) return false;
    }
    return true;
  }
  unsigned start;
  alignas(64) std::array<u64, kMaxCount + 8> all{};
};

void each_run(auto&& body) {
  for (unsigned start = 1; start <= 4; ++start) {
    for (unsigned count = 0; count <= kMaxCount; ++count) {
      SCOPED_TRACE(::testing::Message() << "start " << start << " count " << count);
      body(start, count);
    }
  }
}

TEST(PtRun, items_rise_by_the_step) {
  each_run([](unsigned start, unsigned count) {
    for (const u64 step : {u64{0}, u64{1} << 12, u64{1} << 10}) {
      Items items(start);
      store_run(items.first(), count, 0x8000'0000'0000'1007, step);
      EXPECT_TRUE(items.hold(count, [&](u64 i) { return 0x8000'0000'0000'1007 + i * step; }));
    }
  });
}

TEST(PtRun, entries_rise_by_their_step_and_items_within_by_theirs) {
  constexpr unsigned per_entry = 2 * Block::kItems;
  for (unsigned entries = 0; entries <= 2; ++entries) {
    for (const u64 slot_step : {u64{0}, u64{3}}) {
      Items items(2);
      store_entries(items.first(), entries * per_entry, per_entry, 0x1007, 0x10000, slot_step);
      EXPECT_TRUE(items.hold(entries * per_entry,
                             [&](u64 i) { return 0x1007 + i / per_entry * 0x10000 + i % per_entry * slot_step; }));
    }
  }
}

TEST(PtRun, cleared_items_are_empty_and_any_other_is_found) {
  each_run([](unsigned start, unsigned count) {
    Items items(start);
    clear_run(items.first(), count);
    EXPECT_TRUE(items.hold(count, [](u64) { return u64{0}; }));
    EXPECT_TRUE(all_empty(items.first(), count));
    for (unsigned i = 0; i < count; ++i) {
      for (const u64 used : {u64{1}, u64{1} << 63}) {
        items.first()[i] = used;
        EXPECT_FALSE(all_empty(items.first(), count)) << i;
      }
      items.first()[i] = 0;
    }
  });
}

// The first item that does not agree is at `other`; bits outside the mask are of no interest.
TEST(PtRun, items_are_cleared_up_to_the_block_with_another) {
  constexpr u64 mask = 0xff;
  each_run([](unsigned start, unsigned count) {
    for (unsigned other = 1; other <= count; ++other) {
      Items items(start);
      const auto value = [&](u64 i) { return i << 12 | (i == other ? 0x07u : 0x87u); };
      for (unsigned i = 0; i < count; ++i) items.first()[i] = value(i);
      const unsigned cleared = clear_alike(items.first(), count, value(0), mask);
      EXPECT_LE(cleared, other);
      EXPECT_GT(cleared + Block::kItems, other == count ? count : other);
      EXPECT_TRUE(items.hold(count, [&](u64 i) { return i < cleared ? 0 : value(i); }));
    }
  });
}

}  // namespace
}  // namespace iommufd::pt::test

// SPDX-License-Identifier: BSD-3-Clause
// The worked examples of iommufd-core 3.5.
#include "iova/allocate.hpp"

#include <algorithm>
#include <random>
#include <vector>

namespace iommufd::iova {
namespace {

using Areas = IntervalMap<int>;
constexpr u64 kMax = ~u64{0};

struct Row {
  u64 va, length, fresh, sequence;
};
constexpr Row kRows[] = {
    {0x7F0000201000, 0x3000, 0x1000, 0x1000},
    {0x7F0000200000, 0x300000, 0x200000, 0x200000},
    {0, 5, 0x1000, 0x4000},
    {0x801, 1, 0x1801, 0x4805},
    {0x801, 1, 0x1801, 0x4807},
    {0x80000800, 0x100, 0x1800, 0x4900},
    {0x80000800, 0x100, 0x1800, 0x4A00},
    {0x80000000, 0x1000, 0x1000, 0x5000},
    {0x80000000, 0x2000, 0x2000, 0x6000},
    {0x80000000, 0x3000, 0x4000, 0x8000},
    {0x80001000, 0x3000, 0x1000, 0xB000},
    {0x80000000, 0x200000, 0x200000, 0x600000},
    {0x80000000, 0x200001, 0x200000, 0x800000},
    {0x40000000, 0x40000000, 0x200000, 0xC00000},
    {0x80000C00, 0x400, 0x1C00, 0x4C00},
    {0x80000FFF, 2, 0x1FFF, 0xEFFF},
    {0x80000FFF, 2, 0x1FFF, 0xFFFF},
    {0, 0x1000, 0x1000, 0x11000},
    {0, 0x3000, 0x4000, 0x14000},
    {0, 0x7FFFFFFFFFFFFE, 0x200000, 0x40C00000},
};

TEST(Allocate, worked_examples_on_a_fresh_ioas) {
  for (const Row& row : kRows)
    EXPECT_EQ(allocate({row.length, row.va, 1}, Areas{}, ReservedRanges{}, Areas{}), row.fresh) << std::hex << row.va;
}

TEST(Allocate, worked_examples_in_sequence) {
  Areas areas;
  for (const Row& row : kRows) {
    const Result<u64> got = allocate({row.length, row.va, 1}, areas, ReservedRanges{}, Areas{});
    ASSERT_EQ(got, row.sequence) << std::hex << row.va << " " << row.length;
    areas.insert(*got, *got + row.length - 1, 0);
  }
}

TEST(Allocate, too_long_overflows_before_anything_else) {
  EXPECT_EQ(allocate({0x7fffffffffffffff, 1, 4096}, Areas{}, ReservedRanges{}, Areas{}), Err(Errno::kOverflow));
  EXPECT_EQ(allocate({0x7ffffffffffffffe, 0, 1}, Areas{}, ReservedRanges{}, Areas{}), 0x200000u);
}

TEST(Allocate, alignment_of_the_ioas_must_be_met) {
  EXPECT_EQ(allocate({0x1000, 0x800, 0x1000}, Areas{}, ReservedRanges{}, Areas{}), Err(Errno::kInval));
}

TEST(Allocate, allowed_ranges_restrict_and_the_last_byte_cannot_be_used) {
  Areas allowed;
  allowed.insert(0x5000, 0x5001, 0);
  EXPECT_EQ(allocate({1, 1, 1}, Areas{}, ReservedRanges{}, allowed), Err(Errno::kNoSpc));
  EXPECT_EQ(allocate({1, 0x2000, 1}, Areas{}, ReservedRanges{}, allowed), 0x5000u);
}

TEST(Allocate, allowed_page_serves_once) {
  for (const IovaRange range : {IovaRange{0x5000, 0x5fff}, IovaRange{0, 0x1fff}}) {
    Areas allowed;
    allowed.insert(range.start, range.last, 0);
    Areas areas;
    const u64 expect = std::max(range.start, u64{0x1000});
    EXPECT_EQ(allocate({0x1000, 0x2000, 1}, areas, ReservedRanges{}, allowed), expect);
    areas.insert(expect, expect + 0xfff, 0);
    EXPECT_EQ(allocate({0x1000, 0x2000, 1}, areas, ReservedRanges{}, allowed), Err(Errno::kNoSpc));
  }
}

TEST(Allocate, sixteen_pages_at_the_end_of_the_space) {
  Areas allowed;
  allowed.insert(0xFFFFFFFFFFFEF000, kMax, 0);
  Areas areas;
  u64 last = 0;
  for (int i = 0; i < 16; ++i) {
    const Result<u64> got = allocate({0x1000, 0x2000, 1}, areas, ReservedRanges{}, allowed);
    ASSERT_TRUE(got);
    last = *got;
    areas.insert(last, last + 0xfff, 0);
  }
  EXPECT_EQ(last, 0xFFFFFFFFFFFFE000u);
  EXPECT_EQ(allocate({0x1000, 0x2000, 1}, areas, ReservedRanges{}, allowed), Err(Errno::kNoSpc));
}

TEST(Allocate, touching_allowed_ranges_are_one_window) {
  Areas allowed;
  allowed.insert(0x10000, 0x10fff, 0);
  allowed.insert(0x11000, 0x11fff, 0);
  EXPECT_EQ(allocate({0x2000, 0x2000, 1}, Areas{}, ReservedRanges{}, allowed), 0x10000u);
}

TEST(Allocate, reserved_ranges_are_skipped_also_when_they_overlap) {
  ReservedRanges reserved;
  const int owner = 0;
  reserved.add({0, 0xffffff}, &owner);
  reserved.add({0x800, 0x1000}, &owner);
  EXPECT_EQ(allocate({0x800, 0x800, 0x800}, Areas{}, reserved, Areas{}), 0x1000800u);
}

TEST(ReservedRanges, gaps_join_touching_ranges) {
  ReservedRanges r;
  const int owner = 0;
  r.add({0x1000, 0x1fff}, &owner);
  r.add({0x2000, 0x2fff}, &owner);
  r.add({0x1800, 0x27ff}, &owner);
  EXPECT_EQ(r.gaps(), (std::vector<IovaRange>{{0, 0xfff}, {0x3000, kMax}}));
  r.add({0, kMax}, &owner);
  EXPECT_TRUE(r.gaps().empty());
  r.remove(&owner);
  EXPECT_EQ(r.gaps(), (std::vector<IovaRange>{{0, kMax}}));
}

// Steps 5 to 8 of 3.5 to the letter, over a list of everything that is used.
Result<u64> slow_allocate(u64 length, u64 hint, std::vector<IovaRange> used, const std::vector<IovaRange>& windows) {
  const u64 align = IOMMUFD_TRY(detail::choose_alignment({length, hint, 1}));
  const u64 offset = hint & kPageMask;
  std::ranges::sort(used, {}, &IovaRange::start);
  for (const IovaRange& window : windows) {
    u64 from = 0, result = 0;
    if (!detail::place(window.start, window.last, align, offset, length, from)) continue;
    for (const IovaRange& u : used) {
      if (u.last < from) continue;
      if (u.start > window.last) break;
      if (u.start > from && detail::place(from, u.start - 1, align, offset, length, result)) return result;
      from = u.last + 1;
    }
    if (from <= window.last && detail::place(from, window.last, align, offset, length, result)) return result;
  }
  return Err(Errno::kNoSpc);
}

TEST(Allocate, is_what_a_walk_over_everything_finds) {
  std::mt19937_64 random(11);
  const auto below = [&](u64 n) { return random() % n; };
  u64 found = 0;
  for (int round = 0; round < 400; ++round) {
    Areas areas;
    ReservedRanges reserved;
    Areas allowed;
    std::vector<IovaRange> used, windows{{kPageSize, kMax - kPageSize}};
    const u64 space = 64 * kPageSize;
    for (u64 n = below(60); n > 0; --n) {
      const u64 start = below(space), last = start + below(3 * kPageSize);
      if (areas.overlaps(start, last)) continue;
      areas.insert(start, last, 0);
      used.push_back({start, last});
    }
    for (u64 n = below(4); n > 0; --n) {
      const u64 start = below(space), last = start + below(9 * kPageSize);
      reserved.add({start, last}, nullptr);
      used.push_back({start, last});
    }
    if (below(2) == 0) {
      windows.clear();
      for (u64 start = kPageSize; start < space; start += (4 + below(9)) * kPageSize) {
        windows.push_back({start, start + (1 + below(3)) * kPageSize + below(2)});
        allowed.insert(windows.back().start, windows.back().last, 0);
      }
    }
    for (int request = 0; request < 40; ++request) {
      const u64 length = 1 + below(below(3) == 0 ? 12 * kPageSize : 600),
                hint = below(4) * 0x800 + (below(3) == 0 ? 1 : 0);
      const Result<u64> expected = slow_allocate(length, hint, used, windows);
      ASSERT_EQ(allocate({length, hint, 1}, areas, reserved, allowed), expected)
          << "length " << length << " hint " << hint << " round " << round;
      found += expected ? 1 : 0;
    }
  }
  EXPECT_GT(found, 1000u);
}

}  // namespace
}  // namespace iommufd::iova

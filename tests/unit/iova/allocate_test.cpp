// SPDX-License-Identifier: BSD-3-Clause
// The worked examples of iommufd-core 3.5.
#include "iova/allocate.hpp"

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

}  // namespace
}  // namespace iommufd::iova

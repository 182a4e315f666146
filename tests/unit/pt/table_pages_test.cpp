// SPDX-License-Identifier: BSD-3-Clause
#include "pt/table_pages.hpp"
#include "base/fault_point.hpp"

#include <set>
#include <thread>
#include <vector>

namespace iommufd::pt {
namespace {

constexpr u64 kChunk = u64{4} << 20;

std::unique_ptr<TableArena> arena_of(const TableArena::Config& config) {
  return std::move(TableArena::create(config)).value();
}

TEST(TableArena, refuses_ranges_that_are_not_a_range) {
  const auto error = [](const TableArena::Config& c) {
    const auto r = TableArena::create(c);
    return r ? Errno{0} : r.error();
  };
  EXPECT_EQ(error({.base = PhysAddr{0x1001}}), Errno::kInval);
  EXPECT_EQ(error({.size = 0}), Errno::kInval);
  EXPECT_EQ(error({.size = kChunk + kPageSize}), Errno::kInval);
  EXPECT_EQ(error({.size = u64{1} << 62}), Errno::kInval);
  EXPECT_EQ(error({.base = PhysAddr{~u64{0} - kPageSize + 1}, .size = kChunk}), Errno::kInval);
  EXPECT_EQ(error({.base = PhysAddr{0 - kChunk}, .size = kChunk}), Errno::kInval) << "beyond the physical addresses";
  EXPECT_EQ(error({.base = PhysAddr{0}, .size = kChunk}), Errno{0});
}

TEST(TableArena, fresh_pages_are_zero_and_rise) {
  auto arena = arena_of({.base = PhysAddr{0x5000'0000}, .size = 2 * kChunk});
  TablePageList all;
  for (u64 i = 0; i < 2 * kChunk / kPageSize; ++i) {
    const Result<PhysAddr> page = arena->allocate();
    ASSERT_TRUE(page);
    ASSERT_EQ(page->raw(), 0x5000'0000 + i * kPageSize);
    u64* items = arena->items(*page);
    for (std::size_t k = 0; k < kItemsPerPage; ++k) ASSERT_EQ(items[k], 0u);
    items[0] = items[kItemsPerPage - 1] = ~u64{0};
    arena->push(all, *page);
  }
  EXPECT_EQ(arena->allocate(), Err(Errno::kNoMem));
  EXPECT_EQ(arena->pages_in_use(), 2 * kChunk / kPageSize);
  arena->free(all);
  EXPECT_EQ(all.count, 0u);
  EXPECT_EQ(arena->pages_in_use(), 0u);
  // Every page can be had again, once, and is zero again.
  std::set<PhysAddr> seen;
  while (const Result<PhysAddr> page = arena->allocate()) {
    EXPECT_TRUE(seen.insert(*page).second);
    EXPECT_EQ(arena->items(*page)[0] | arena->items(*page)[kItemsPerPage - 1], 0u);
  }
  EXPECT_EQ(seen.size(), 2 * kChunk / kPageSize);
  for (const PhysAddr page : seen) arena->free(page);
}

TEST(TableArena, reuse_is_newest_first_or_last_of_all) {
  for (const auto reuse : {TableArena::Reuse::kNewestFirst, TableArena::Reuse::kFreshFirst}) {
    auto arena = arena_of({.size = kChunk, .reuse = reuse});
    const PhysAddr a = *arena->allocate(), b = *arena->allocate();
    arena->free(a);
    arena->free(b);
    const PhysAddr next = *arena->allocate();
    EXPECT_EQ(next, reuse == TableArena::Reuse::kNewestFirst ? b : advance(b, kPageSize));
    arena->free(next);
  }
}

TEST(TableArena, nth_allocation_fails_once) {
  auto arena = arena_of({.size = kChunk});
  fault::arm(3);
  std::vector<bool> worked;
  for (int i = 0; i < 5; ++i) {
    const Result<PhysAddr> page = arena->allocate();
    worked.push_back(page.has_value());
    if (page) arena->free(*page);
  }
  EXPECT_EQ(worked, (std::vector<bool>{true, true, false, true, true}));
}

TEST(TableArena, threads_never_share_a_page) {
  auto arena = arena_of({.size = kChunk});
  std::vector<std::jthread> threads;
  for (u64 who = 1; who <= 4; ++who) {
    threads.emplace_back([&, who] {
      for (int round = 0; round < 500; ++round) {
        TablePageList mine;
        std::vector<PhysAddr> pages;
        for (int i = 0; i < 8; ++i) {
          pages.push_back(*arena->allocate());
          ASSERT_EQ(arena->items(pages.back())[7], 0u);
          arena->items(pages.back())[7] = who;
        }
        for (const PhysAddr page : pages) {
          ASSERT_EQ(arena->items(page)[7], who);
          arena->push(mine, page);
        }
        arena->free(mine);
      }
    });
  }
  threads.clear();
  EXPECT_EQ(arena->pages_in_use(), 0u);
}

TEST(Gather, collects_the_hull_of_ranges) {
  auto arena = arena_of({.size = kChunk});
  Gather gather(*arena);
  EXPECT_TRUE(gather.empty());
  gather.add_range(0, 0);
  EXPECT_FALSE(gather.has_range());
  gather.add_range(0x5000, 0);
  EXPECT_TRUE(gather.empty());
  EXPECT_EQ(gather.range(), (IovaRange{0x5000, 0x4fff})) << "the kernel's empty range";
  gather.add_range(0x8000, 0x1000);
  EXPECT_EQ(gather.range(), (IovaRange{0x8000, 0x8fff}));
  gather.add_range(0x1000, 0x1000);
  gather.add_range(0x3000, 0);
  EXPECT_EQ(gather.range(), (IovaRange{0x1000, 0x8fff}));
  gather.add_range(~u64{0} - 0xfff, 0x1000);
  EXPECT_EQ(gather.range(), (IovaRange{0x1000, ~u64{0}}));
  gather.free();
  EXPECT_TRUE(gather.empty());
}

TEST(Gather, keeps_tables_until_free) {
  auto arena = arena_of({.size = kChunk});
  Gather gather(*arena);
  TablePageList list;
  const PhysAddr first = *arena->allocate();
  arena->items(first)[0] = 0x1234;
  gather.add_table(first);
  for (int i = 0; i < 3; ++i) arena->push(list, *arena->allocate());
  gather.add_tables(list);
  EXPECT_EQ(list.count, 0u);
  EXPECT_EQ(gather.tables(), 4u);
  EXPECT_FALSE(gather.empty());
  EXPECT_EQ(arena->items(first)[0], 0x1234u) << "a walker may still read it";
  EXPECT_EQ(arena->pages_in_use(), 4u);
  gather.free();
  EXPECT_EQ(arena->pages_in_use(), 0u);
}

}  // namespace
}  // namespace iommufd::pt

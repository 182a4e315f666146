// SPDX-License-Identifier: BSD-3-Clause
// Snapshots, for every format: what a copy says is what the table translates.
#include "pt/snapshot.hpp"
#include "tests/contract/pt/rig.hpp"

namespace iommufd::pt::test {
namespace {

template <class F>
class SnapshotContract : public ::testing::Test {};
TYPED_TEST_SUITE(SnapshotContract, Formats, FormatName);

TYPED_TEST(SnapshotContract, an_empty_table_is_its_root) {
  on_each_config<TypeParam>([](Rig<TypeParam>& rig) {
    const Snapshot copy = copy_table(*rig.table);
    EXPECT_EQ(copy.table.format->name, TypeParam::kName);
    ASSERT_EQ(copy.pages.size(), 1u);
    EXPECT_EQ(copy.pages.front().address, copy.top.root);
    EXPECT_EQ(copy.pages.front().level, copy.top.level);
    EXPECT_TRUE(runs_of(copy).empty());
  });
}

TYPED_TEST(SnapshotContract, every_size_of_entry_is_one_run) {
  on_each_config<TypeParam>([](Rig<TypeParam>& rig) {
    for (const unsigned size_lg2 : rig.sizes()) {
      SCOPED_TRACE(size_lg2);
      const u64 size = u64{1} << size_lg2;
      ASSERT_TRUE(rig.map(size, size, size));
      const Snapshot copy = copy_table(*rig.table);
      EXPECT_EQ(copy.pages.size(), rig.count_tables());
      const std::vector<MappedRun> runs = runs_of(copy);
      ASSERT_EQ(runs.size(), 1u);
      EXPECT_EQ(runs.front(), (MappedRun{size, size, size, size_lg2, Access::kReadWrite, false, false}));
      ASSERT_EQ(rig.unmap(size, size), size);
    }
  });
}

TYPED_TEST(SnapshotContract, runs_are_what_lookup_finds) {
  on_each_config<TypeParam>([](Rig<TypeParam>& rig) {
    const u64 page = u64{1} << rig.sizes().front();
    // Neighbours on both sides, neighbours in IOVA only, and a hole.
    ASSERT_TRUE(rig.map(16 * page, 64 * page, 4 * page));
    ASSERT_TRUE(rig.map(20 * page, 128 * page, page));
    ASSERT_TRUE(rig.map(22 * page, 129 * page, page));
    u64 bytes = 0;
    for (const MappedRun& run : runs_of(copy_table(*rig.table))) {
      bytes += run.length;
      for (u64 at = 0; at < run.length; at += page) {
        const std::optional<Translation> t = rig.lookup(run.iova + at);
        ASSERT_TRUE(t);
        EXPECT_EQ(t->pa.raw(), run.pa + at);
        EXPECT_EQ(t->access, run.access);
      }
    }
    EXPECT_EQ(bytes, 6 * page);
  });
}

TYPED_TEST(SnapshotContract, a_written_item_is_a_run_of_its_own) {
  on_each_config<TypeParam>([](Rig<TypeParam>& rig) {
    if (!rig.table->tracks_dirty()) return;
    const u64 page = u64{1} << rig.sizes().front();
    ASSERT_TRUE(rig.map(16 * page, 17 * page, 3 * page));
    ASSERT_TRUE(rig.table->record_write(Iova{17 * page}));
    const std::vector<MappedRun> runs = runs_of(copy_table(*rig.table));
    ASSERT_EQ(runs.size(), 3u);
    EXPECT_EQ(runs[1].iova, 17 * page);
    EXPECT_TRUE(runs[1].accessed && runs[1].dirty);
    EXPECT_FALSE(runs[0].dirty || runs[2].dirty || runs[0].accessed);
  });
}

// Nothing that is in an item makes the reader fail, or read a table twice.
TYPED_TEST(SnapshotContract, damaged_items_are_read_to_the_end) {
  struct Count final : SnapshotReader::Visitor {
    void table(const TablePage&, const SnapshotReader::Place&) override { ++tables; }
    void damaged(const SnapshotReader::Place&, u64, const char*) override { ++found; }
    std::size_t tables = 0, found = 0;
  };
  on_each_config<TypeParam>([](Rig<TypeParam>& rig) {
    const u64 page = u64{1} << rig.sizes().front();
    ASSERT_TRUE(rig.map(16 * page, 16 * page, page));
    const Snapshot whole = copy_table(*rig.table);
    Snapshot copy = whole;
    u64 state = 1;
    for (TablePage& table : copy.pages) {
      for (u64& item : table.items) item = state = state * 6364136223846793005 + 1442695040888963407;
    }
    Count noise;
    SnapshotReader(copy).read(noise);
    EXPECT_LE(noise.tables, copy.pages.size());
    EXPECT_NE(noise.found, 0u);
    // Two items that point to one table, and a table that is missing.
    copy = whole;
    copy.pages.front().items[1] = copy.pages.front().items[0];
    copy.pages.pop_back();
    Count twice;
    SnapshotReader(copy).read(twice);
    EXPECT_EQ(twice.tables, copy.pages.size());
    EXPECT_EQ(twice.found, 2u);
  });
}

TEST(SnapshotOfSignExtendedAddresses, the_upper_half_is_at_the_end_of_the_space) {
  Rig<Probe> rig(Probe::kTestConfigs[0]);
  const u64 va = ~u64{0} - 0xfff;
  ASSERT_TRUE(rig.map(va, 0x5000, 0x1000));
  const std::vector<MappedRun> runs = runs_of(copy_table(*rig.table));
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs.front().iova, va);
}

}  // namespace
}  // namespace iommufd::pt::test

// SPDX-License-Identifier: BSD-3-Clause
// What a format says about one item must agree with itself, at every level, size and configuration.
#include "base/fault_point.hpp"
#include "tests/contract/pt/rig.hpp"

namespace iommufd::pt::test {
namespace {

template <class F>
class PtFormat : public ::testing::Test {};
TYPED_TEST_SUITE(PtFormat, Formats, FormatName);

constexpr Access kAccesses[] = {Access::kRead, Access::kWrite, Access::kReadWrite};

// Calls body(level, size_lg2) for every leaf that a table can hold.
template <class F>
void each_leaf(auto&& body) {
  for (unsigned level = 0; level <= F::kMaxTopLevel; ++level) {
    for (unsigned s = 0; s < F::kMaxOaBits; ++s) {
      if ((F::possible_sizes(level) >> s & 1) != 0) body(level, s);
    }
  }
}

TYPED_TEST(PtFormat, geometry_is_a_radix_tree) {
  using F = TypeParam;
  for (unsigned level = 0; level <= F::kMaxTopLevel; ++level) {
    ASSERT_EQ(F::item_lg2(level), F::kGranuleLg2 + level * F::kIndexBits);
    for (const unsigned index : {0u, 1u, kTableItems<F> / 2, kTableItems<F> - 1}) {
      const u64 va = u64{index} << F::item_lg2(level);
      if (va >> F::item_lg2(level) != index) continue;  // beyond 64 bits
      EXPECT_EQ(index_of<F>(va, level), index);
      EXPECT_EQ(index_of<F>(va + item_size<F>(level) - 1, level), index);
    }
  }
}

TYPED_TEST(PtFormat, sizes_belong_to_their_level) {
  using F = TypeParam;
  each_leaf<F>([](unsigned level, unsigned s) {
    EXPECT_EQ(level_of<F>(s), level);
    EXPECT_GE(s, F::item_lg2(level));
    EXPECT_LT(s, F::item_lg2(level) + F::kIndexBits) << "an entry does not leave its table";
  });
}

TYPED_TEST(PtFormat, zero_is_empty_and_nothing_else_is) {
  using F = TypeParam;
  for (unsigned level = 0; level <= F::kMaxTopLevel; ++level) {
    EXPECT_EQ(F::kind(0, level), EntryKind::kEmpty);
    if (level > 0) {
      EXPECT_EQ(F::kind(F::make_table(0, level, F::kForced), level), EntryKind::kTable);
    }
  }
  each_leaf<F>([](unsigned level, unsigned s) {
    for (const Access a : kAccesses) {
      EXPECT_EQ(F::kind(F::make_leaf(0, level, s, *F::permission(a, F::kForced)), level), EntryKind::kLeaf);
    }
  });
}

TYPED_TEST(PtFormat, leaf_gives_back_output_size_and_access) {
  using F = TypeParam;
  each_leaf<F>([](unsigned level, unsigned s) {
    for (unsigned bit = s; bit < F::kMaxOaBits; ++bit) {
      for (const u64 oa : {u64{1} << bit, ((u64{1} << F::kMaxOaBits) - 1) & ~((u64{1} << bit) - 1)}) {
        for (const Access a : kAccesses) {
          const u64 item = F::make_leaf(oa, level, s, *F::permission(a, F::kForced));
          ASSERT_EQ(F::kind(item, level), EntryKind::kLeaf);
          ASSERT_EQ(F::output(item, level), oa);
          ASSERT_EQ(F::entry_lg2(item, level), s);
          ASSERT_EQ(F::access(item), F::granted(a));
        }
      }
    }
  });
}

// The engine clears items that agree in these bits without asking for each of them.
TYPED_TEST(PtFormat, other_bits_than_leaf_bits_make_no_difference) {
  using F = TypeParam;
  each_leaf<F>([](unsigned level, unsigned s) {
    for (const Access a : kAccesses) {
      for (const u64 oa : {u64{1} << s, ((u64{1} << F::kMaxOaBits) - 1) & ~((u64{1} << s) - 1)}) {
        const u64 item = F::make_leaf(oa, level, s, *F::permission(a, F::kForced));
        const u64 mask = F::leaf_bits(item, level);
        for (unsigned bit = 0; bit < 64; ++bit) {
          const u64 other = item ^ (u64{1} << bit & ~mask);
          ASSERT_EQ(F::kind(other, level), EntryKind::kLeaf) << "bit " << bit;
          ASSERT_EQ(F::entry_lg2(other, level), s) << "bit " << bit;
          ASSERT_EQ(F::leaf_bits(other, level), mask) << "bit " << bit;
        }
        ASSERT_EQ(F::kind(item & mask, level), EntryKind::kLeaf);
        ASSERT_EQ(F::kind(item | ~mask, level), EntryKind::kLeaf);
        ASSERT_EQ(F::entry_lg2(item & mask, level), s);
        ASSERT_EQ(F::entry_lg2(item | ~mask, level), s);
      }
    }
  });
}

// The engine stores runs of entries by addition.
TYPED_TEST(PtFormat, entries_that_follow_each_other_differ_by_the_same_sum) {
  using F = TypeParam;
  each_leaf<F>([](unsigned level, unsigned s) {
    if (s + 2 > F::kMaxOaBits) return;
    const u64 size = u64{1} << s;
    for (const Access a : kAccesses) {
      const u64 permission = *F::permission(a, F::kForced);
      const u64 step = F::make_leaf(size, level, s, 0) - F::make_leaf(0, level, s, 0);
      for (const u64 oa : {u64{0}, size, 2 * size, (u64{1} << F::kMaxOaBits) - 2 * size}) {
        EXPECT_EQ(F::make_leaf(oa, level, s, permission) + step, F::make_leaf(oa + size, level, s, permission));
      }
    }
  });
}

TYPED_TEST(PtFormat, table_gives_back_its_address_and_allows_everything) {
  using F = TypeParam;
  for (unsigned level = 1; level <= F::kMaxTopLevel; ++level) {
    for (unsigned bit = kPageShift; bit < F::kMaxOaBits; ++bit) {
      const u64 item = F::make_table(u64{1} << bit, level, F::kForced);
      EXPECT_EQ(F::kind(item, level), EntryKind::kTable);
      EXPECT_EQ(F::table_address(item), u64{1} << bit);
      EXPECT_EQ(F::table_access(item), Access::kReadWrite);
    }
  }
}

TYPED_TEST(PtFormat, dirty_changes_nothing_else) {
  using F = TypeParam;
  if constexpr (F::kTracksDirty) {
    each_leaf<F>([](unsigned level, unsigned s) {
      for (const Access a : kAccesses) {
        const u64 clean = F::make_leaf(u64{1} << s, level, s, *F::permission(a, F::kForced));
        const u64 dirty = F::make_dirty(clean);
        EXPECT_FALSE(F::is_dirty(clean));
        EXPECT_TRUE(F::is_dirty(dirty));
        EXPECT_EQ(F::make_clean(dirty), clean);
        EXPECT_FALSE(F::is_dirty(F::make_accessed(clean)));
        EXPECT_EQ(F::make_clean(F::make_dirty(F::make_accessed(clean))), F::make_accessed(clean));
        EXPECT_EQ(F::output(F::make_accessed(dirty), level), u64{1} << s);
        EXPECT_EQ(F::kind(dirty, level), EntryKind::kLeaf);
        EXPECT_EQ(F::output(dirty, level), u64{1} << s);
        EXPECT_EQ(F::entry_lg2(dirty, level), s);
        EXPECT_EQ(F::access(dirty), F::granted(a));
      }
    });
  }
}

TYPED_TEST(PtFormat, create_refuses_numbers_out_of_range) {
  using F = TypeParam;
  auto arena = std::move(TableArena::create({})).value();
  const TableConfig good = F::kTestConfigs[0];
  const auto refused = [&](auto&& change) {
    TableConfig c = good;
    change(c);
    const auto r = PageTable<F>::create(*arena, c);
    return r ? Errno{0} : r.error();
  };
  EXPECT_EQ(refused([](TableConfig&) {}), Errno{0});
  EXPECT_EQ(refused([](TableConfig& c) { c.va_bits = 0; }), Errno::kInval);
  EXPECT_EQ(refused([](TableConfig& c) { c.va_bits = F::kMaxVaBits + 1; }), Errno::kInval);
  EXPECT_EQ(refused([](TableConfig& c) { c.oa_bits = 0; }), Errno::kInval);
  EXPECT_EQ(refused([](TableConfig& c) { c.oa_bits = F::kMaxOaBits + 1; }), Errno::kInval);
  EXPECT_EQ(refused([](TableConfig& c) { c.top_level = F::kMinTopLevel - 1; }), F::kBadLevel);
  EXPECT_EQ(refused([](TableConfig& c) { c.top_level = F::kMaxTopLevel + 1; }), F::kBadLevel);
  EXPECT_EQ(refused([](TableConfig& c) { c.features = {Feature::kSignExtend, Feature::kForceWriteable}; }),
            Errno::kOpNotSupp);
  EXPECT_EQ(refused([](TableConfig& c) { c.page_sizes = 1; }), Errno::kInval);
  if (F::kForced != Features{}) {
    EXPECT_EQ(refused([](TableConfig& c) { c.features = {}; }), Errno::kOpNotSupp);
  } else {
    EXPECT_EQ(refused([](TableConfig& c) {
                c.top_level = F::kMinTopLevel;
                c.va_bits = F::item_lg2(F::kMinTopLevel) + F::kIndexBits + 1;
              }),
              Errno::kOpNotSupp);
  }
  fault::arm(1);
  EXPECT_EQ(refused([](TableConfig&) {}), Errno::kNoMem);
  EXPECT_EQ(arena->pages_in_use(), 0u);
}

}  // namespace
}  // namespace iommufd::pt::test

// SPDX-License-Identifier: BSD-3-Clause
// The rules of map, unmap, lookup and the dirty operations (spec page-table-formats 8), on every format,
// configuration, level and entry size.
#include <algorithm>

#include "base/fault_point.hpp"
#include "tests/contract/pt/rig.hpp"

namespace iommufd::pt::test {
namespace {

template <class F>
class PtTable : public ::testing::Test {};
TYPED_TEST_SUITE(PtTable, Formats, FormatName);

u64 size_of(unsigned s) { return u64{1} << s; }

TYPED_TEST(PtTable, new_table_is_one_empty_page) {
  on_each_config<TypeParam>([](auto& rig) {
    EXPECT_EQ(rig.count_tables(), 1u);
    EXPECT_EQ(rig.lookup(0), std::nullopt);
    EXPECT_EQ(rig.lookup(~u64{0}), std::nullopt);
    EXPECT_EQ(rig.table->iova_to_phys(Iova{0x1234}), std::nullopt);
    EXPECT_EQ(rig.unmap(0, kPageSize), 0u);
  });
}

TYPED_TEST(PtTable, every_size_maps_translates_and_unmaps) {
  on_each_config<TypeParam>([](auto& rig) {
    for (const unsigned s : rig.sizes()) {
      SCOPED_TRACE(s);
      const u64 size = size_of(s), va = size, oa = size;
      for (const Access a : {Access::kReadWrite, Access::kRead, Access::kWrite}) {
        const Result<void> r = rig.map(va, oa, size, a);
        if (rig.config.features.has(Feature::kForceWriteable) && !allows(a, Access::kWrite)) {
          EXPECT_EQ(error_of(r), Errno::kInval);
          continue;
        }
        ASSERT_TRUE(r);
        EXPECT_EQ(rig.last_mapped, size);
        for (const u64 at : {u64{0}, u64{1}, size / 2, size - 1}) {
          EXPECT_EQ(rig.lookup(va + at), translation<TypeParam>(oa, TypeParam::granted(a), size, at));
        }
        EXPECT_EQ(rig.lookup(va - 1), std::nullopt);
        EXPECT_EQ(rig.lookup(va + size), std::nullopt);
        EXPECT_EQ(rig.unmap(va, size), size);
        EXPECT_EQ(rig.lookup(va), std::nullopt);
        EXPECT_EQ(rig.count_leaf_items(), 0u);
      }
    }
  });
}

TYPED_TEST(PtTable, occupied_range_is_refused_by_every_other_size) {
  on_each_config<TypeParam>([](auto& rig) {
    for (const unsigned s : rig.sizes()) {
      const u64 size = size_of(s);
      ASSERT_TRUE(rig.map(size, size, size));
      for (const unsigned t : rig.sizes()) {
        const u64 other = size_of(t);
        const u64 va = align_down(size, other);
        EXPECT_EQ(error_of(rig.map(va, 0, other)), TypeParam::kInUse) << s << " under " << t;
        EXPECT_EQ(rig.last_mapped, 0u);
      }
      EXPECT_EQ(rig.lookup(size), translation<TypeParam>(size, Access::kReadWrite, size));
      EXPECT_EQ(rig.unmap(size, size), size);
    }
  });
}

TYPED_TEST(PtTable, unmap_takes_whole_entries) {
  on_each_config<TypeParam>([](auto& rig) {
    const u64 granule = size_of(TypeParam::kGranuleLg2);
    for (const unsigned s : rig.sizes()) {
      const u64 size = size_of(s);
      if (size == granule) continue;
      ASSERT_TRUE(rig.map(size, size, size));
      EXPECT_EQ(rig.unmap(size + granule, size - granule), 0u) << "begins inside the entry";
      EXPECT_EQ(rig.unmap(size + 1, size), 0u);
      EXPECT_TRUE(rig.lookup(size));
      EXPECT_EQ(rig.unmap(size, granule), size) << "ends inside the entry";
      EXPECT_EQ(rig.lookup(size), std::nullopt);
      EXPECT_EQ(rig.count_leaf_items(), 0u);
    }
  });
}

TYPED_TEST(PtTable, unmap_stops_at_a_hole) {
  on_each_config<TypeParam>([](auto& rig) {
    for (const unsigned s : rig.sizes()) {
      const u64 size = size_of(s);
      if (s + 3 >= rig.config.va_bits) continue;
      ASSERT_TRUE(rig.map(size, size, size));
      ASSERT_TRUE(rig.map(3 * size, size, size));
      EXPECT_EQ(rig.unmap(0, 4 * size), 0u);
      EXPECT_EQ(rig.unmap(size, 3 * size), size);
      EXPECT_EQ(rig.unmap(3 * size, size), size);
    }
  });
}

TYPED_TEST(PtTable, covered_tables_are_freed_and_others_kept) {
  on_each_config<TypeParam>([](auto& rig) {
    const u64 granule = size_of(TypeParam::kGranuleLg2);
    const u64 span = kTableItems<TypeParam> * granule;  // of one leaf table
    // Not congruent with any larger size: only granules fit.
    ASSERT_TRUE(rig.map(span, granule, 2 * span));
    const u64 before = rig.count_tables();
    EXPECT_EQ(rig.unmap(span, span - granule), span - granule);
    EXPECT_EQ(rig.count_tables(), before);
    EXPECT_EQ(rig.unmap(2 * span - granule, granule), granule) << "its last page, not all of it";
    EXPECT_EQ(rig.count_tables(), before);
    EXPECT_EQ(rig.unmap(2 * span, span), span);
    EXPECT_EQ(rig.count_tables(), before - 1);
  });
}

TYPED_TEST(PtTable, large_entry_replaces_empty_tables_only) {
  on_each_config<TypeParam>([](auto& rig) {
    const u64 granule = size_of(TypeParam::kGranuleLg2);
    for (const unsigned s : rig.sizes()) {
      if (level_of<TypeParam>(s) == 0 || (rig.table->pgsize_bitmap() & granule) == 0) continue;
      SCOPED_TRACE(s);
      const u64 size = size_of(s);
      // Tables in the first and the last item of the entry, the last one in use.
      ASSERT_TRUE(rig.map(size, 0, granule));
      ASSERT_TRUE(rig.map(2 * size - granule, 0, granule));
      ASSERT_EQ(rig.unmap(size, granule), granule);
      const u64 tables = rig.count_tables();
      EXPECT_EQ(error_of(rig.map(size, size, size)), TypeParam::kInUse);
      EXPECT_EQ(rig.count_tables(), tables) << "a refusal changes nothing";
      ASSERT_EQ(rig.unmap(2 * size - granule, granule), granule);

      Gather gather(*rig.arena);
      u64 mapped = 0;
      ASSERT_TRUE(rig.table->map(Iova{size}, PhysAddr{size}, size, Access::kReadWrite, mapped, gather));
      EXPECT_TRUE(gather.has_range());
      EXPECT_GE(gather.range().start, size);
      EXPECT_LE(gather.range().last, 2 * size - 1);
      EXPECT_EQ(rig.count_tables(), tables - gather.tables());
      gather.free();
      EXPECT_TRUE(gather.empty());
      EXPECT_EQ(rig.lookup(2 * size - 1), translation<TypeParam>(size, Access::kReadWrite, size, size - 1));
      EXPECT_EQ(rig.unmap(size, size), size);
    }
  });
}

TYPED_TEST(PtTable, map_checks_in_the_order_of_the_kernel) {
  on_each_config<TypeParam>([](auto& rig) {
    const u64 granule = size_of(TypeParam::kGranuleLg2);
    const u64 bad_oa = size_of(rig.config.oa_bits);
    const u64 top = ~u64{0} - granule + 1;
    const auto error = [&](u64 va, u64 oa, u64 length, Access a = Access::kReadWrite) {
      const Errno e = error_of(rig.map(va, oa, length, a));
      EXPECT_EQ(rig.last_mapped, 0u);
      return e;
    };
    EXPECT_EQ(error(1, bad_oa, 0, Access::kNone), Errno::kInval);
    EXPECT_EQ(error(1, bad_oa, 0, Access::kNoExecute), Errno::kInval);
    EXPECT_EQ(error(1, bad_oa, 0), Errno::kRange);
    EXPECT_EQ(error(1, 0, 0), Errno::kInval);
    EXPECT_EQ(error(top + 1, 1, granule), Errno::kOverflow);
    EXPECT_EQ(error(1, 0, granule), Errno::kNxio);
    EXPECT_EQ(error(0, 1, granule), Errno::kNxio);
    EXPECT_EQ(error(0, 0, granule / 2), Errno::kNxio);
    EXPECT_EQ(error(1, 1, 16 * granule), Errno::kNxio);
    if (rig.config.va_bits < 64) {
      EXPECT_EQ(error(size_of(rig.config.va_bits), 0, granule), Errno::kRange);
      EXPECT_EQ(error(size_of(rig.config.va_bits) - granule, 0, 2 * granule), Errno::kRange);
      EXPECT_EQ(error(size_of(rig.config.va_bits), 1, granule), Errno::kNxio);
    }
    EXPECT_EQ(rig.lookup(0), std::nullopt);
  });
}

TYPED_TEST(PtTable, last_page_of_the_aperture_can_be_mapped) {
  on_each_config<TypeParam>([](auto& rig) {
    const u64 granule = size_of(TypeParam::kGranuleLg2);
    const u64 last = rig.table->aperture().last;
    const u64 va = last - granule + 1;
    ASSERT_TRUE(rig.map(va, granule, granule));
    EXPECT_EQ(rig.lookup(last), translation<TypeParam>(granule, Access::kReadWrite, granule, granule - 1));
    EXPECT_EQ(rig.lookup(va - 1), std::nullopt);
    EXPECT_EQ(rig.lookup(0), std::nullopt);
    EXPECT_EQ(rig.unmap(va, granule), granule);
  });
}

TYPED_TEST(PtTable, misaligned_tail_is_refused_after_the_part_before) {
  on_each_config<TypeParam>([](auto& rig) {
    const u64 granule = size_of(TypeParam::kGranuleLg2);
    EXPECT_EQ(error_of(rig.map(granule, granule, granule + granule / 2)), Errno::kNxio);
    EXPECT_EQ(rig.last_mapped, granule);
    EXPECT_EQ(rig.unmap(granule, rig.last_mapped), granule);
  });
}

// The nth allocation fails, for n = 1, 2, ... until none does. What `mapped` says is mapped, and nothing else; and the
// next try works.
TYPED_TEST(PtTable, failing_allocations_leave_what_mapped_says) {
  using F = TypeParam;
  for (const TableConfig& config : F::kTestConfigs) {
    SCOPED_TRACE(config.name);
    const u64 granule = size_of(F::kGranuleLg2), span = kTableItems<F> * granule, length = 2 * span;
    u64 failures = 0;
    for (u64 n = 1;; ++n) {
      Rig<F> rig(config);
      const u64 va = rig.table->aperture().last / 2 + 1 - span - granule;  // in three leaf tables, around the middle
      fault::arm(n);
      const Result<void> r = rig.map(va, 0, length);
      fault::disarm();
      if (!r) {
        ++failures;
        ASSERT_EQ(r.error(), Errno::kNoMem);
        ASSERT_LT(rig.last_mapped, length);
        ASSERT_EQ(rig.lookup(va + rig.last_mapped), std::nullopt);
        ASSERT_EQ(rig.unmap(va, rig.last_mapped), rig.last_mapped);
        ASSERT_EQ(rig.count_leaf_items(), 0u);
        ASSERT_TRUE(rig.map(va, 0, length));
      }
      ASSERT_EQ(rig.last_mapped, length);
      ASSERT_EQ(rig.unmap(va, length), length);
      if (r) break;
    }
    EXPECT_GE(failures, 3u);
  }
}

TYPED_TEST(PtTable, root_grows_and_keeps_what_was_there) {
  using F = TypeParam;
  if constexpr (F::kForced.has(Feature::kDynamicTop)) {
    struct Recorder : TopListener {
      void change_top(const TopInfo& top) override { tops.push_back(top); }
      std::vector<TopInfo> tops;
    };
    for (const TableConfig& config : F::kTestConfigs) {
      Recorder recorder;
      TableConfig with = config;
      with.listener = &recorder;
      Rig<F> rig(with);
      ASSERT_TRUE(rig.map(0, kPageSize, kPageSize));
      std::vector<u64> mapped{0};
      for (unsigned level = config.top_level; level < F::kMaxTopLevel; ++level) {
        const u64 beyond = size_of(F::item_lg2(level + 1));
        if (F::item_lg2(level + 1) >= config.va_bits) break;
        fault::arm(1);
        ASSERT_EQ(error_of(rig.map(beyond, kPageSize, kPageSize)), Errno::kNoMem);
        ASSERT_TRUE(rig.map(beyond, kPageSize, kPageSize));
        mapped.push_back(beyond);
        ASSERT_EQ(rig.table->top().level, level + 1);
        ASSERT_FALSE(recorder.tops.empty());
        ASSERT_EQ(recorder.tops.back(), rig.table->top());
        for (const u64 va : mapped) EXPECT_EQ(rig.table->iova_to_phys(Iova{va + 5}), PhysAddr{kPageSize + 5});
      }
    }
  }
}

TYPED_TEST(PtTable, each_item_of_an_entry_can_be_marked_dirty) {
  using F = TypeParam;
  if constexpr (F::kTracksDirty) {
    struct Sink : DirtySink {
      void dirty(Iova iova, u64 length) override { seen.push_back({iova.raw(), length}); }
      std::vector<std::pair<u64, u64>> seen;
    };
    on_each_config<F>([](auto& rig) {
      EXPECT_TRUE(rig.table->tracks_dirty());
      for (const unsigned s : rig.sizes()) {
        SCOPED_TRACE(s);
        const u64 size = size_of(s), item = item_size<F>(level_of<F>(s));
        ASSERT_TRUE(rig.map(size, size, size));
        for (u64 at = 0; at < size; at += item) {
          ASSERT_TRUE(rig.table->set_dirty(Iova{size + at + item / 2}));
          ASSERT_TRUE(rig.table->set_dirty(Iova{size + at})) << "again";
          const auto read = [&](DirtyMode mode) {
            Sink sink;
            Gather gather(*rig.arena);
            EXPECT_TRUE(rig.table->read_and_clear_dirty(Iova{size}, size, mode, sink, gather));
            EXPECT_EQ(gather.has_range(), mode == DirtyMode::kReadAndClear && !sink.seen.empty());
            return sink.seen;
          };
          const std::vector<std::pair<u64, u64>> entry{{size + at, item}}, none;
          ASSERT_EQ(read(DirtyMode::kReadOnly), entry);
          ASSERT_EQ(read(DirtyMode::kReadAndClear), entry);
          ASSERT_EQ(read(DirtyMode::kReadAndClear), none);
          ASSERT_EQ(read(DirtyMode::kReadOnly), none);
        }
        EXPECT_EQ(rig.lookup(size), translation<TypeParam>(size, Access::kReadWrite, size));
        EXPECT_EQ(rig.unmap(size, size), size);
        EXPECT_EQ(error_of(rig.table->set_dirty(Iova{size})), Errno::kNoEnt);
      }
      Sink sink;
      Gather gather(*rig.arena);
      const auto read = [&](u64 va, u64 length) {
        return error_of(rig.table->read_and_clear_dirty(Iova{va}, length, DirtyMode::kReadOnly, sink, gather));
      };
      EXPECT_EQ(read(0, 0), Errno::kInval);
      EXPECT_EQ(read(~u64{0}, 2), Errno::kOverflow);
      if (rig.config.va_bits < 64) {
        EXPECT_EQ(read(size_of(rig.config.va_bits), 1), Errno::kRange);
        EXPECT_EQ(error_of(rig.table->set_dirty(Iova{size_of(rig.config.va_bits)})), Errno::kRange);
      }
    });
  }
}

TYPED_TEST(PtTable, a_read_of_dirty_items_is_clipped_and_cleans_what_it_reports) {
  using F = TypeParam;
  if constexpr (F::kTracksDirty) {
    struct Sink : DirtySink {
      void dirty(Iova iova, u64 length) override {
        first = std::min(first, iova.raw());
        bytes += length;
      }
      u64 first = ~u64{0}, bytes = 0;
    };
    on_each_config<F>([](auto& rig) {
      for (const unsigned s : rig.sizes()) {
        SCOPED_TRACE(s);
        const u64 size = size_of(s), item = item_size<F>(level_of<F>(s));
        ASSERT_TRUE(rig.map(size, size, size));
        const auto written = [&] {
          for (u64 at = 0; at < size; at += item) ASSERT_TRUE(rig.table->record_write(Iova{size + at + 1}));
        };
        const auto read = [&](u64 start, u64 length) {
          Sink sink;
          Gather gather(*rig.arena);
          EXPECT_TRUE(rig.table->read_and_clear_dirty(Iova{start}, length, DirtyMode::kReadAndClear, sink, gather));
          return sink;
        };
        written();
        const u64 tail = size + size - item / 2;  // the second half of the last item
        const Sink part = read(tail, item / 2);
        EXPECT_EQ(part.first, tail);
        EXPECT_EQ(part.bytes, item / 2);
        EXPECT_EQ(read(size, size).bytes, size - item);  // the others are still dirty
        written();
        EXPECT_EQ(read(size, size).bytes, size);
        EXPECT_EQ(rig.lookup(size), translation<TypeParam>(size, Access::kReadWrite, size));
        EXPECT_EQ(rig.unmap(size, size), size);
        EXPECT_EQ(error_of(rig.table->record_write(Iova{size})), Errno::kNoEnt);
      }
    });
  }
}

TYPED_TEST(PtTable, without_a_dirty_bit_nothing_is_dirty) {
  using F = TypeParam;
  if constexpr (!F::kTracksDirty) {
    struct Sink : DirtySink {
      void dirty(Iova, u64) override { ADD_FAILURE(); }
    };
    on_each_config<F>([](auto& rig) {
      Sink sink;
      Gather gather(*rig.arena);
      ASSERT_TRUE(rig.map(0, 0, kPageSize));
      EXPECT_FALSE(rig.table->tracks_dirty());
      EXPECT_EQ(error_of(rig.table->set_dirty(Iova{0})), Errno::kNoEnt);
      EXPECT_EQ(error_of(rig.table->record_write(Iova{0})), Errno::kNoEnt);
      EXPECT_TRUE(rig.table->read_and_clear_dirty(Iova{0}, kPageSize, DirtyMode::kReadAndClear, sink, gather));
      EXPECT_EQ(error_of(rig.table->read_and_clear_dirty(Iova{0}, 0, DirtyMode::kReadAndClear, sink, gather)),
                Errno::kInval);
    });
  }
}

TYPED_TEST(PtTable, sign_extended_addresses_have_two_halves) {
  using F = TypeParam;
  if constexpr (F::kSupported.has(Feature::kSignExtend)) {
    on_each_config<F>([](auto& rig) {
      const u64 half = u64{1} << (rig.config.va_bits - 1);
      const u64 last_page = ~u64{0} - kPageSize + 1;
      if (!rig.config.features.has(Feature::kSignExtend)) {
        EXPECT_EQ(rig.table->aperture(), (IovaRange{0, 2 * half - 1}));
        EXPECT_EQ(error_of(rig.map(last_page, kPageSize, kPageSize)), Errno::kRange);
        return;
      }
      EXPECT_EQ(rig.table->aperture(), (IovaRange{0, half - 1}));
      EXPECT_EQ(error_of(rig.map(half, kPageSize, kPageSize)), Errno::kRange);
      EXPECT_EQ(error_of(rig.map(half - kPageSize, 0, 2 * kPageSize)), Errno::kRange);
      EXPECT_EQ(error_of(rig.map(-half - kPageSize, 0, 2 * kPageSize)), Errno::kRange);
      for (const u64 va : {u64{0}, half - kPageSize, -half, last_page}) {
        ASSERT_TRUE(rig.map(va, kPageSize, kPageSize));
        EXPECT_EQ(rig.lookup(va + 1), translation<TypeParam>(kPageSize, Access::kReadWrite, kPageSize, 1));
      }
      EXPECT_EQ(rig.lookup(half), std::nullopt);
      for (const u64 va : {u64{0}, half - kPageSize, -half, last_page}) EXPECT_EQ(rig.unmap(va, kPageSize), kPageSize);
      EXPECT_EQ(rig.count_leaf_items(), 0u);
    });
  }
}

TYPED_TEST(PtTable, tables_report_where_they_are) {
  on_each_config<TypeParam>([](auto& rig) {
    const u64 granule = size_of(TypeParam::kGranuleLg2);
    const u64 va = rig.table->aperture().last / 4 + 1;
    ASSERT_TRUE(rig.map(va, granule, granule));
    bool found = false;
    rig.table->for_each_table([&](const TableView& t) {
      EXPECT_EQ(rig.arena->items(t.address), t.items.data());
      found |= t.level == 0 && t.iova == align_down(va, kTableItems<TypeParam> * granule);
    });
    EXPECT_TRUE(found);
  });
}

TYPED_TEST(PtTable, cut_refuses_what_no_entry_can_begin_at) {
  on_each_config<TypeParam>([](auto& rig) {
    const u64 smallest = rig.table->pgsize_bitmap() & -rig.table->pgsize_bitmap();
    Gather gather(*rig.arena);
    EXPECT_EQ(error_of(rig.table->cut(Iova{smallest / 2}, gather)), Errno::kInval);
    EXPECT_EQ(error_of(rig.table->cut(Iova{rig.table->aperture().last - smallest + 1}, gather)), Errno{0});
    gather.free();
  });
}

// Hardware without 2 MiB pages: a cut of 1 GiB fills 512 tables. Whichever of them there is no memory for, nothing changes.
TEST(PtCut, passes_a_level_that_holds_no_leaves) {
  constexpr u64 k1G = u64{1} << 30;
  Rig<VtdSecondStage> rig({.name = "no 2 MiB", .top_level = 3, .va_bits = 48, .page_sizes = k1G | kPageSize});
  ASSERT_TRUE(rig.map(k1G, 2 * k1G, k1G));
  ASSERT_EQ(error_of(rig.table->set_dirty(Iova{k1G + 5})), Errno{0});
  const auto cut = [&] {
    Gather gather(*rig.arena);
    const Errno e = error_of(rig.table->cut(Iova{k1G + kPageSize}, gather));
    gather.free();
    return e;
  };
  const u64 before = rig.arena->pages_in_use();
  for (const u64 nth : {1u, 2u, 3u, 300u, 513u}) {
    fault::arm(nth);
    EXPECT_EQ(cut(), Errno::kNoMem) << nth;
    EXPECT_EQ(fault::disarm(), 0u);
    EXPECT_EQ(rig.arena->pages_in_use(), before);
    EXPECT_EQ(rig.lookup(k1G + 0x123), translation<VtdSecondStage>(2 * k1G, Access::kReadWrite, k1G, 0x123));
  }
  EXPECT_EQ(cut(), Errno{0});
  EXPECT_EQ(rig.arena->pages_in_use(), before + 513);
  u64 dirty = 0;
  rig.table->for_each_table([&](const TableView& t) {
    if (t.level == 0) dirty += static_cast<u64>(std::ranges::count_if(t.items, VtdSecondStage::is_dirty));
  });
  EXPECT_EQ(dirty, k1G / kPageSize);
  for (u64 at = 0; at < k1G; at += kPageSize)
    ASSERT_EQ(rig.lookup(k1G + at), translation<VtdSecondStage>(2 * k1G + at, Access::kReadWrite, kPageSize));
  EXPECT_EQ(rig.unmap(k1G, k1G), k1G);
}

}  // namespace
}  // namespace iommufd::pt::test

// SPDX-License-Identifier: BSD-3-Clause
// Walkers without locks against mappers and unmappers, mappers of different ranges against each other, devices that set
// dirty bits against the reader that clears them. Meant for TSan and ASan too. Two tables share one arena, so a table
// that is freed too early is soon full of translations that are wrong for its old owner.
#include <algorithm>
#include <array>
#include <atomic>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "tests/contract/pt/rig.hpp"

namespace iommufd::pt::test {
namespace {

// Rounds of the mappers: so many at least, and on until walkers have met mapped pages often enough.
constexpr u64 kRounds = 1'000, kHits = 2'000, kMaxRounds = 200'000;

// Counts the walks of a few threads, as the transactions of a device: wait() returns when every walk that had begun
// is over. The read-modify-writes are the fences that pt/table.hpp asks for.
class Walkers {
 public:
  static constexpr unsigned kMax = 4;
  template <class Fn>
  auto walk(unsigned who, Fn&& fn) {
    count_[who].fetch_add(1);
    auto result = fn();
    count_[who].fetch_add(1);
    return result;
  }
  void wait() {
    for (std::atomic<u64>& c : count_) {
      const u64 seen = c.fetch_add(0);
      while (seen % 2 == 1 && c.load() == seen) std::this_thread::yield();
    }
  }

 private:
  std::array<std::atomic<u64>, kMax> count_{};
};

template <class F>
class PtRace : public ::testing::Test {};
TYPED_TEST_SUITE(PtRace, Formats, FormatName);

// A window of leaf tables that is filled and emptied in every way: by granules, by one large entry, over empty tables.
template <PageTableFormat F>
class Churn {
 public:
  static constexpr u64 kGranule = u64{1} << F::kGranuleLg2;
  static constexpr u64 kSpan = kTableItems<F> * kGranule;

  Churn(TableArena& arena, const TableConfig& config, Walkers& walkers, u64 offset)
      : arena_(arena),
        table_(std::move(PageTable<F>::create(arena, config)).value()),
        walkers_(walkers),
        offset_(offset) {}

  // What every translation of this table must say.
  void look(unsigned who, u64 at) {
    const auto t = walkers_.walk(who, [&] { return table_->lookup(Iova{kStart + at}); });
    if (!t) return;
    ASSERT_EQ(t->pa.raw(), kStart + at + offset_);
    ASSERT_EQ(t->access, Access::kReadWrite);
    ASSERT_LE(t->length, 2 * kSpan);
    hits_.fetch_add(1, std::memory_order_relaxed);
  }

  void round(u64 n) {
    switch (n % 3) {
      case 0:  // granules and the table with them
        map(kGranule, kSpan - kGranule);
        map(0, kGranule);
        std::this_thread::yield();
        unmap(0, kSpan);
        break;
      case 1:  // granules from the second on: the table is kept
        for (u64 at = kGranule; at < 32 * kGranule; at += kGranule) map(at, kGranule);
        for (u64 at = kGranule; at < 32 * kGranule; at += kGranule) unmap(at, kGranule);
        break;
      case 2:  // large entries where the format has them, over the table that was kept
        map(0, 2 * kSpan);
        std::this_thread::yield();
        unmap(0, 2 * kSpan);
        break;
    }
  }
  u64 hits() const { return hits_.load(); }

 private:
  static constexpr u64 kStart = 16 * kSpan;

  void map(u64 at, u64 length) {
    u64 mapped = 0;
    Gather gather(arena_);
    ASSERT_TRUE(
        table_->map(Iova{kStart + at}, PhysAddr{kStart + at + offset_}, length, Access::kReadWrite, mapped, gather));
    flush(gather);
  }
  void unmap(u64 at, u64 length) {
    Gather gather(arena_);
    ASSERT_EQ(table_->unmap(Iova{kStart + at}, length, gather), length);
    flush(gather);
    ASSERT_EQ(table_->lookup(Iova{kStart + at}), std::nullopt);
  }
  void flush(Gather& gather) {
    if (gather.empty()) return;
    walkers_.wait();
    gather.free();
  }

  TableArena& arena_;
  std::unique_ptr<PageTable<F>> table_;
  Walkers& walkers_;
  const u64 offset_;
  std::atomic<u64> hits_{0};
};

TYPED_TEST(PtRace, walkers_see_whole_translations_or_none) {
  using F = TypeParam;
  const TableConfig& config = F::kTestConfigs[1];
  auto arena = std::move(TableArena::create({})).value();
  Walkers walkers;
  {
    std::array<Churn<F>, 2> tables{Churn<F>(*arena, config, walkers, u64{1} << 31),
                                   Churn<F>(*arena, config, walkers, u64{1} << 32)};
    std::atomic<unsigned> mappers_left{2};
    std::vector<std::jthread> threads;
    for (Churn<F>& table : tables) {
      threads.emplace_back([&] {
        for (u64 n = 0; n < kRounds || (table.hits() < kHits && n < kMaxRounds); ++n) {
          if (::testing::Test::HasFailure()) break;
          table.round(n);
        }
        mappers_left.fetch_sub(1);
      });
    }
    for (unsigned who = 0; who < 2; ++who) {
      threads.emplace_back([&, who] {
        std::mt19937_64 random(who);
        while (mappers_left.load() != 0 && !::testing::Test::HasFailure()) {
          for (Churn<F>& table : tables) {
            const u64 r = random();
            table.look(who, (r & 1) != 0 ? r / 2 % (2 * Churn<F>::kSpan) : r / 2 % (32 * Churn<F>::kGranule));
          }
        }
      });
    }
    threads.clear();
    for (const Churn<F>& table : tables) EXPECT_GE(table.hits(), kHits);
  }
  EXPECT_EQ(arena->pages_in_use(), 0u);
}

// Neighbours share tables of every level and, where the root grows, race to grow it.
TYPED_TEST(PtRace, mappers_of_different_ranges_share_tables) {
  using F = TypeParam;
  constexpr unsigned kThreads = 4;
  constexpr u64 kGranule = u64{1} << F::kGranuleLg2;
  for (unsigned round = 0; round < 40; ++round) {
    on_each_config<F>([&](auto& rig) {
      const u64 last = rig.table->aperture().last;
      const u64 places[] = {0, last / 2 + 1, last - 64 * kGranule + 1};
      std::vector<std::jthread> threads;
      for (unsigned who = 0; who < kThreads; ++who) {
        threads.emplace_back([&, who] {
          for (unsigned i = who; i < 64; i += kThreads) {
            for (u64 place : places) {
              u64 mapped = 0;
              Gather gather(*rig.arena);
              const u64 va = place + i * kGranule;
              ASSERT_TRUE(
                  rig.table->map(Iova{va}, PhysAddr{(i + 1) * kGranule}, kGranule, Access::kReadWrite, mapped, gather));
              ASSERT_TRUE(gather.empty());
              ASSERT_EQ(rig.table->iova_to_phys(Iova{va}), PhysAddr{(i + 1) * kGranule});
            }
          }
        });
      }
      threads.clear();
      for (u64 place : places) {
        for (unsigned i = 0; i < 64; ++i) {
          ASSERT_EQ(rig.table->iova_to_phys(Iova{place + i * kGranule}), PhysAddr{(i + 1) * kGranule});
        }
        ASSERT_EQ(rig.unmap(place, 64 * kGranule), 64 * kGranule);
      }
    });
  }
}

// A write that was marked is reported, by one reading or another.
TYPED_TEST(PtRace, no_dirty_bit_is_lost) {
  using F = TypeParam;
  if constexpr (F::kTracksDirty) {
    constexpr u64 kGranule = u64{1} << F::kGranuleLg2;
    constexpr u64 kPages = 256;
    struct Sink : DirtySink {
      void dirty(Iova iova, u64 length) override {
        EXPECT_EQ(length, u64{1} << F::kGranuleLg2);
        seen.at(iova.raw() >> F::kGranuleLg2) += 1;
      }
      std::array<u64, 512> seen{};
    };
    Rig<F> rig(F::kTestConfigs[1]);
    for (u64 i = 1; i <= kPages; ++i) ASSERT_TRUE(rig.map(i * kGranule, kGranule, kGranule));
    for (unsigned round = 0; round < 50; ++round) {
      Sink sink;
      std::atomic<unsigned> left{2};
      std::vector<std::jthread> devices;
      for (unsigned who = 0; who < 2; ++who) {
        devices.emplace_back([&, who] {
          for (u64 i = 0; i < kPages; ++i) {
            const u64 page = 1 + (who == 0 ? i : kPages - 1 - i);
            while (error_of(rig.table->set_dirty(Iova{page * kGranule})) == Errno::kAgain) {
            }
          }
          left.fetch_sub(1);
        });
      }
      bool again = true;
      while (again) {
        again = left.load() != 0;  // one more reading after the last mark
        Gather gather(*rig.arena);
        ASSERT_TRUE(
            rig.table->read_and_clear_dirty(Iova{0}, (kPages + 2) * kGranule, DirtyMode::kReadAndClear, sink, gather));
      }
      for (u64 page = 1; page <= kPages; ++page) ASSERT_GT(sink.seen[page], 0u) << page;
    }
  }
}

// One large entry is cut to pieces under walkers: none of them ever misses it, or sees another address; and what devices write
// meanwhile is reported afterwards, whatever became of the item that they marked.
TYPED_TEST(PtRace, nobody_notices_a_cut) {
  using F = TypeParam;
  Rig<F> rig(F::kTestConfigs[0]);
  constexpr u64 kGranule = u64{1} << F::kGranuleLg2, kSpan = kTableItems<F> * kGranule;
  constexpr u64 kLength = 2 * kSpan;
  constexpr unsigned kWalkers = 2, kTables = 60, kCuts = 12;
  for (unsigned n = 0; n < kTables && !::testing::Test::HasFailure(); ++n) {
    ASSERT_TRUE(rig.map(kLength, 4 * kLength, kLength));
    std::atomic<bool> stop{false};
    std::vector<std::thread> walkers;
    std::array<std::set<u64>, kWalkers> written;
    for (unsigned who = 0; who < kWalkers; ++who) {
      walkers.emplace_back([&, who] {
        std::minstd_rand random(who + 1 + n);
        while (!stop.load()) {
          const u64 at = random() * 16 % kLength;
          const auto t = rig.lookup(kLength + at);
          ASSERT_TRUE(t) << std::hex << at;
          ASSERT_EQ(t->pa.raw(), 4 * kLength + at);
          if constexpr (F::kTracksDirty) {
            if (random() % 64 != 0) continue;
            ASSERT_TRUE(rig.table->record_write(Iova{kLength + at}));
            written[who].insert(kLength + at);
          }
        }
      });
    }
    std::minstd_rand random(n + 1);
    for (unsigned c = 0; c < kCuts; ++c) {
      Gather gather(*rig.arena);
      ASSERT_TRUE(rig.table->cut(Iova{kLength + align_down(random() * 16 % kLength, 2 * kGranule)}, gather));
      ASSERT_EQ(gather.tables(), 0u);
      gather.free();
    }
    stop = true;
    for (std::thread& t : walkers) t.join();
    if constexpr (F::kTracksDirty) {
      struct Sink : DirtySink {
        void dirty(Iova iova, u64 length) override { ranges.push_back({iova.raw(), iova.raw() + (length - 1)}); }
        std::vector<IovaRange> ranges;
      } sink;
      Gather gather(*rig.arena);
      ASSERT_TRUE(rig.table->read_and_clear_dirty(Iova{kLength}, kLength, DirtyMode::kReadAndClear, sink, gather));
      for (const auto& writes : written) {
        for (const u64 at : writes) {
          EXPECT_TRUE(
              std::ranges::any_of(sink.ranges, [&](const IovaRange& r) { return r.start <= at && at <= r.last; }))
              << std::hex << at << " was written";
        }
      }
    }
    ASSERT_EQ(rig.unmap(kLength, kLength), kLength);
  }
}

}  // namespace
}  // namespace iommufd::pt::test

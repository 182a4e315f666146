// SPDX-License-Identifier: BSD-3-Clause
// Page tables: ns per call, through the virtual interface that domains use. Rows: pt/FORMAT/OPERATION.
//
//   map_4k, _64k, _2m, _1g    one call for that size, into tables that exist and are in the first-level cache. 64 KiB is one entry
//                             of 16 items where the format has that, 16 entries where not
//   map_sequential_4k         calls for consecutive 4 KiB, through 32 leaf tables that exist (second-level cache)
//   map_256x4k                one call for 1 MiB, IOVA and output address congruent modulo 1 MiB: one entry of 256 items in
//                             amdv1, 16 of 16 in riscv and lpae
//   map_256x4k_misaligned     the same length, but congruent modulo 4 KiB only: 256 entries in every format
//   map_512x4k_tables         one call for 2 MiB of 4 KiB entries (congruent modulo 4 KiB), the leaf table allocated in the call
//   unmap_...                 the reverse; unmap_512x4k_tables unlinks the leaf table and gives it back to the arena
//   lookup_4k_hot, ...        random items of one table that is in the first-level cache; walks may overlap
//   lookup_4k_cold, ...       one random item of a cache line that was flushed, the tables above mostly cached; each walk needs
//                             the result of the one before
//   dirty_1g_4k, dirty_1g_2m  read-and-clear over 1 GiB where each item is dirty, into a bitmap; formats with dirty bits
//
// Limits (see tools/bench). The reference is Linux's generic_pt, built for user space with g++ 12 on the kind of machine that the
// figures in docs come from. Calls for one entry take at most 0.7 of it, runs of 256 at most 0.35, a lookup at most 8 ns, and no
// format more than 1.3 times what the best one takes. The one entry of 256 items of amdv1 is cleared in at most 1.5 times the time
// of memset. riscv and lpae have no reference; x86's holds.
#include <string>

#include "bench/pt_subject.hpp"

#include <random>
#include <span>
#include <vector>

#ifdef __x86_64__
#include <emmintrin.h>
#endif

namespace {

using namespace iommufd;
using namespace iommufd::pt;
using namespace iommufd::pt::bench;

constexpr u64 kItemsPerLine = 64 / sizeof(u64);

enum class Timed { kMap, kUnmap };
enum class Tables { kKept, kRecycled };  // of what a batch unmaps

// Whole batches are timed; the other half runs with the clock stopped.
void map_unmap(benchmark::State& state, Make make, const Ranges& ranges, Timed timed, Tables tables) {
  Subject subject(make, ranges);
  Stopwatch clock;
  subject.map_all();
  subject.unmap_all();
  subject.free_tables();
  while (state.KeepRunningBatch(static_cast<benchmark::IterationCount>(ranges.calls))) {
    if (timed == Timed::kMap) {
      state.SetIterationTime(clock.time([&] { subject.map_all(); }));
      subject.unmap_all();
    } else {
      subject.map_all();
      state.SetIterationTime(clock.time([&] {
        subject.unmap_all();
        if (tables == Tables::kRecycled) subject.free_tables();
      }));
    }
    subject.free_tables();
  }
}

// The numbers 0..n-1 in an order that no prefetcher guesses.
std::vector<u64> shuffled(u64 n, u64 step) {
  std::vector<u64> order;
  for (u64 i = 0; i < n; i += step) order.push_back(i);
  std::ranges::shuffle(order, std::mt19937_64(1));
  return order;
}

void lookup_hot(benchmark::State& state, Make make, const Ranges& ranges) {
  Subject subject(make, ranges);
  Stopwatch clock;
  subject.map_as_one();
  const std::vector<u64> order = shuffled(ranges.calls, 1);
  while (state.KeepRunningBatch(static_cast<benchmark::IterationCount>(order.size()))) {
    state.SetIterationTime(clock.time([&] {
      for (const u64 i : order) benchmark::DoNotOptimize(subject.table().lookup(Iova{subject.address(i)}));
    }));
  }
}

std::vector<std::span<const u64>> all_tables(const Table& table) {
  std::vector<std::span<const u64>> tables;
  table.for_each_table([&](const TableView& t) { tables.push_back(t.items); });
  return tables;
}

void flush_from_caches(const std::vector<std::span<const u64>>& tables) {
#ifdef __x86_64__
  for (const auto items : tables) {
    for (std::size_t i = 0; i < items.size(); i += kItemsPerLine) _mm_clflush(&items[i]);
  }
  _mm_mfence();
#else
  static std::vector<u64> larger_than_caches(u64{1} << 24);
  for (u64& word : larger_than_caches) ++word;
  benchmark::DoNotOptimize(tables.data());
#endif
}

void lookup_cold(benchmark::State& state, Make make, const Ranges& ranges) {
  Subject subject(make, ranges);
  Stopwatch clock;
  subject.map_as_one();
  const std::vector<u64> order = shuffled(ranges.calls, kItemsPerLine);
  const auto tables = all_tables(subject.table());
  while (state.KeepRunningBatch(static_cast<benchmark::IterationCount>(order.size()))) {
    flush_from_caches(tables);
    state.SetIterationTime(clock.time([&] {
      u64 zero = 0;  // known to us only
      for (const u64 i : order) {
        const u64 va = subject.address(i) + zero;
        zero = subject.table().lookup(Iova{va})->pa.raw() - va - ranges.oa_skew;
      }
      benchmark::DoNotOptimize(zero);
    }));
  }
}

// One bit for each 4 KiB of 1 GiB.
class Bitmap final : public DirtySink {
 public:
  explicit Bitmap(u64 start) : start_(start), words_(k1G / k4K / 64) {}
  void dirty(Iova iova, u64 length) override {
    u64 page = (iova.raw() - start_) / k4K;
    for (u64 left = length / k4K; left != 0;) {
      const u64 bit = page % 64, n = std::min(left, 64 - bit);
      words_[page / 64] |= (~u64{0} >> (64 - n)) << bit;
      page += n;
      left -= n;
    }
  }

 private:
  const u64 start_;
  std::vector<u64> words_;
};

void dirty(benchmark::State& state, Make make, const Ranges& ranges) {
  Subject subject(make, ranges);
  Stopwatch clock;
  subject.map_all();
  Bitmap bitmap(ranges.start);
  for (auto _ : state) {
    for (u64 i = 0; i < ranges.calls; ++i) {
      if (!subject.table().record_write(Iova{subject.address(i)})) std::abort();
    }
    state.SetIterationTime(clock.time([&] {
      if (!subject.table().read_and_clear_dirty(Iova{ranges.start}, k1G, DirtyMode::kReadAndClear, bitmap,
                                                subject.gather())) {
        std::abort();
      }
    }));
    subject.free_tables();
  }
}

struct Pair {
  double map, unmap;
};

// Nanoseconds of the reference.
struct Reference {
  Pair one_4k, one_2m, run_aligned, run_misaligned, run_with_tables;
};
constexpr Reference kAmd{{19.9, 21.7}, {26.7, 18.5}, {248, 0}, {350, 243}, {723, 494}};
constexpr Reference kVtd{{21.7, 24.6}, {28.6, 21.1}, {281, 176}, {282, 176}, {614, 361}};
constexpr Reference kX86{{21.0, 24.8}, {28.1, 21.7}, {291, 200}, {291, 170}, {637, 381}};
constexpr double kOne = 0.7, kRun = 0.35, kRunWithTables = 0.7;

class Rows {
 public:
  Rows(const std::string& format, Make make) : prefix_("pt/" + format + "/"), make_(make) {}

  void map_unmap(const std::string& what, const Ranges& r, const Pair& reference, double part, Tables tables) const {
    const auto run = [make = make_, r, tables](Timed timed, const std::string& label) {
      return [=](benchmark::State& state) {
        ::map_unmap(state, make, r, timed, tables);
        state.SetLabel(label);
      };
    };
    add("map_" + what, run(Timed::kMap, limit("map_" + what, reference.map * part)))->UseManualTime();
    // Half a table that is one entry is held against memset.
    const bool fill = reference.map != 0 && reference.unmap == 0;
    const std::string unmap_limit =
        fill ? "vs=calib/memset_2k max_ratio=1.5" : limit("unmap_" + what, reference.unmap * part);
    add("unmap_" + what, run(Timed::kUnmap, unmap_limit))->UseManualTime();
  }

  void lookup(const std::string& size, const Ranges& hot, const Ranges& cold) const {
    add("lookup_" + size + "_hot", [make = make_, hot, label = limit("lookup_" + size + "_hot", 8)](auto& state) {
      lookup_hot(state, make, hot);
      state.SetLabel(label);
    })->UseManualTime();
    add("lookup_" + size + "_cold", [make = make_, cold, label = limit("lookup_" + size + "_cold", 0)](auto& state) {
      lookup_cold(state, make, cold);
      state.SetLabel(label);
    })->UseManualTime();
  }

  void dirty(const std::string& size, const Ranges& r) const {
    add("dirty_1g_" + size, [make = make_, r, label = limit("dirty_1g_" + size, 0)](auto& state) {
      ::dirty(state, make, r);
      state.SetLabel(label);
    })->UseManualTime();
  }

 private:
  template <class Fn>
  benchmark::internal::Benchmark* add(const std::string& operation, Fn&& fn) const {
    return benchmark::RegisterBenchmark((prefix_ + operation).c_str(), std::forward<Fn>(fn));
  }
  static std::string limit(const std::string& operation, double ns) {
    const std::string max = ns != 0 ? "max=" + std::to_string(ns) + " " : "";
    return max + "best_of=" + operation + " max_over_best=1.3";
  }

  const std::string prefix_;
  const Make make_;
};

void add(const std::string& format, Make make, const Reference& reference, bool tracks_dirty) {
  const Rows rows(format, make);
  rows.map_unmap("4k", {k1G, k4K, 512, k4K}, reference.one_4k, kOne, Tables::kKept);
  rows.map_unmap("64k", {k1G, k64K, 256, k64K}, {}, kOne, Tables::kKept);
  rows.map_unmap("2m", {k1G, k2M, 512, k2M}, reference.one_2m, kOne, Tables::kKept);
  rows.map_unmap("1g", {0, k1G, 512, k1G}, {}, kOne, Tables::kKept);
  rows.map_unmap("sequential_4k", {k1G, k4K, 32 * 512, k4K}, reference.one_4k, kOne, Tables::kKept);
  rows.map_unmap("256x4k", {k1G, k1M, 16, 0}, reference.run_aligned, kRun, Tables::kKept);
  rows.map_unmap("256x4k_misaligned", {k1G, k1M, 16, k4K}, reference.run_misaligned, kRun, Tables::kKept);
  rows.map_unmap("512x4k_tables", {k1G, k2M, 8, k4K}, reference.run_with_tables, kRunWithTables, Tables::kRecycled);
  // Cold: 64 tables with 64 lines each.
  constexpr u64 kCold = u64{64} * 512;
  rows.lookup("4k", {k1G, k4K, 512, k4K}, {k1G, k4K, kCold, k4K});
  rows.lookup("2m", {k1G, k2M, 512, k2M}, {k1G, k2M, kCold, k2M});
  rows.lookup("1g", {0, k1G, 512, k1G}, {0, k1G, kCold, k1G});
  if (tracks_dirty) {
    rows.dirty("4k", {k1G, k4K, k1G / k4K, k4K});
    rows.dirty("2m", {k1G, k2M, k1G / k2M, k2M});
  }
}

const bool registered = [] {
  add("amdv1", [](TableArena& a) { return std::move(make_amd_v1(a)).value(); }, kAmd, true);
  add("vtd", [](TableArena& a) { return std::move(make_vtd_second_stage(a)).value(); }, kVtd, true);
  add("x86", [](TableArena& a) { return std::move(make_x86(a)).value(); }, kX86, false);
  add("riscv", [](TableArena& a) { return std::move(make_riscv(a)).value(); }, kX86, false);
  add("lpae", [](TableArena& a) { return std::move(make_arm_lpae(a)).value(); }, kX86, false);
  return true;
}();

}  // namespace

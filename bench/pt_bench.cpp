// SPDX-License-Identifier: BSD-3-Clause
// Page tables: ns per call of map, unmap and lookup, per format and size, through the virtual interface that domains
// use. "256x4k" is one call for 256 entries. IOVA and physical address are equal, so AMD v1 stores a 256 x size range
// as one encoded entry ("_scattered" rows prevent that). Rows: pt/FORMAT/OPERATION_SIZE.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>

#include "pt/formats.hpp"

namespace {

using namespace iommufd;
using namespace iommufd::pt;
using Clock = std::chrono::steady_clock;

using Make = std::unique_ptr<Table> (*)(TableArena&);

std::unique_ptr<Table> make_amd(TableArena& arena) { return std::move(make_amd_v1(arena)).value(); }
std::unique_ptr<Table> make_vtd(TableArena& arena) { return std::move(make_vtd_second_stage(arena)).value(); }

struct Case {
  u64 length;   // per call
  u64 calls;    // timed together
  u64 oa_skew;  // physical address minus IOVA
};

enum class Timed { kMap, kUnmap };

// What reading the clock adds to a timed piece.
Clock::duration clock_cost() {
  Clock::duration least = Clock::duration::max();
  for (int i = 0; i < 1000; ++i) {
    const auto start = Clock::now();
    least = std::min(least, Clock::now() - start);
  }
  return least;
}

constexpr u64 kTimedCalls = 200'000;
constexpr u64 kStart = u64{256} << 30;  // with 256 GiB above it inside the first 512 GiB: the root does not grow

// Calls that fill and empty one range, over tables that exist: only the chosen half is timed.
void map_unmap(benchmark::State& state, Make make, Case c, Timed timed) {
  auto arena = std::move(TableArena::create({})).value();
  {
    auto table = make(*arena);
    Gather gather(*arena);
    const Clock::duration clock = clock_cost();
    const auto map_all = [&] {
      for (u64 i = 0; i < c.calls; ++i) {
        u64 mapped = 0;
        const u64 va = kStart + i * c.length;
        if (!table->map(Iova{va}, PhysAddr{va + c.oa_skew}, c.length, Access::kReadWrite, mapped, gather)) std::abort();
      }
    };
    const auto unmap_all = [&] {
      for (u64 i = 0; i < c.calls; ++i) {
        if (table->unmap(Iova{kStart + i * c.length}, c.length, gather) != c.length) std::abort();
      }
    };
    map_all();
    unmap_all();
    gather.free();
    for (auto _ : state) {
      const auto start = Clock::now();
      map_all();
      const auto middle = Clock::now();
      unmap_all();
      const auto end = Clock::now();
      gather.free();
      const std::chrono::duration<double> d = (timed == Timed::kMap ? middle - start : end - middle) - clock;
      state.SetIterationTime(d.count() / static_cast<double>(c.calls));
    }
  }
}

void lookup(benchmark::State& state, Make make, Case c) {
  auto arena = std::move(TableArena::create({})).value();
  {
    auto table = make(*arena);
    Gather gather(*arena);
    for (u64 i = 0; i < c.calls; ++i) {
      u64 mapped = 0;
      const u64 va = kStart + i * c.length;
      if (!table->map(Iova{va}, PhysAddr{va + c.oa_skew}, c.length, Access::kReadWrite, mapped, gather)) std::abort();
    }
    u64 i = 0;
    for (auto _ : state) {
      benchmark::DoNotOptimize(table->lookup(Iova{kStart + i * c.length + 0x123}));
      if (++i == c.calls) i = 0;
    }
  }
}

void add(const std::string& format, Make make) {
  constexpr u64 k4K = 1ull << 12, k2M = 1ull << 21, k1G = 1ull << 30, kNoSkew = 0;
  const struct {
    const char* name;
    Case c;
  } cases[] = {
      {"4k", {k4K, 4096, k4K}},
      {"2m", {k2M, 512, k2M}},
      {"1g", {k1G, 128, k1G}},
      {"256x4k", {256 * k4K, 64, kNoSkew}},
      {"256x2m", {256 * k2M, 16, kNoSkew}},
      {"256x1g", {256 * k1G, 1, kNoSkew}},
      {"256x4k_scattered", {256 * k4K, 64, k4K}},
  };
  for (const auto& [name, c] : cases) {
    const std::string row = "pt/" + format + "/";
    // The reported time is that of one call, so the number of rounds cannot be found from it.
    const auto rounds = static_cast<benchmark::IterationCount>(1 + kTimedCalls / c.calls);
    for (const auto& [what, timed] : {std::pair{"map_", Timed::kMap}, std::pair{"unmap_", Timed::kUnmap}}) {
      benchmark::RegisterBenchmark((row + what + name).c_str(), map_unmap, make, c, timed)
          ->UseManualTime()
          ->Iterations(rounds);
    }
    benchmark::RegisterBenchmark((row + "lookup_" + name).c_str(), lookup, make, c);
  }
}

const bool registered = [] {
  add("amdv1", make_amd);
  add("vtd", make_vtd);
  return true;
}();

}  // namespace

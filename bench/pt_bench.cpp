// SPDX-License-Identifier: BSD-3-Clause
// Page tables: ns per call of map, unmap and lookup, per format and size, through the virtual interface that domains
// use. "256x4k" is one call for 256 entries; IOVA and physical address are equal there, so AMD v1 stores one encoded
// entry of 256 items, except in the "_scattered" rows. Rows: pt/FORMAT/OPERATION_SIZE. The limits are what the kernel's
// own code measured on a machine of this kind (spec page-table-formats 10.2).
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "pt/formats.hpp"

namespace {

using namespace iommufd;
using namespace iommufd::pt;

using Make = std::unique_ptr<Table> (*)(TableArena&);

std::unique_ptr<Table> make_amd(TableArena& arena) { return std::move(make_amd_v1(arena)).value(); }
std::unique_ptr<Table> make_vtd(TableArena& arena) { return std::move(make_vtd_second_stage(arena)).value(); }

std::unique_ptr<Table> make_x86_64(TableArena& arena) { return std::move(make_x86(arena)).value(); }
std::unique_ptr<Table> make_risc_v(TableArena& arena) { return std::move(make_riscv(arena)).value(); }
std::unique_ptr<Table> make_lpae(TableArena& arena) { return std::move(make_arm_lpae(arena)).value(); }

struct Case {
  u64 start;
  u64 length;   // per call
  u64 calls;    // ranges next to each other, from `start` on
  u64 oa_skew;  // physical address minus IOVA
};

enum class Timed { kMap, kUnmap };

// A table that is filled and emptied range by range.
class Subject {
 public:
  Subject(Make make, const Case& c)
      : case_(c), arena_(std::move(TableArena::create({})).value()), table_(make(*arena_)), gather_(*arena_) {}

  void map(u64 i) {
    u64 mapped = 0;
    const u64 va = case_.start + i * case_.length;
    const PhysAddr pa{va + case_.oa_skew};
    if (!table_->map(Iova{va}, pa, case_.length, Access::kReadWrite, mapped, gather_)) std::abort();
  }
  void unmap(u64 i) {
    if (table_->unmap(Iova{case_.start + i * case_.length}, case_.length, gather_) != case_.length) std::abort();
  }
  auto lookup(u64 i) { return table_->lookup(Iova{case_.start + i * case_.length + 0x123}); }
  void map_all() {
    for (u64 i = 0; i < case_.calls; ++i) map(i);
  }
  void unmap_all() {
    for (u64 i = 0; i < case_.calls; ++i) unmap(i);
    gather_.free();
  }

 private:
  const Case case_;
  std::unique_ptr<TableArena> arena_;
  std::unique_ptr<Table> table_;
  Gather gather_;
};

// The other half runs with the clock stopped, once per `calls`. The tables exist from the first, untimed, round.
void map_unmap(benchmark::State& state, Make make, Case c, Timed timed) {
  Subject subject(make, c);
  subject.map_all();
  if (timed == Timed::kMap) subject.unmap_all();
  u64 i = 0;
  for (auto _ : state) {
    timed == Timed::kMap ? subject.map(i) : subject.unmap(i);
    if (++i < c.calls) continue;
    i = 0;
    state.PauseTiming();
    timed == Timed::kMap ? subject.unmap_all() : subject.map_all();
    state.ResumeTiming();
  }
}

void lookup(benchmark::State& state, Make make, Case c) {
  Subject subject(make, c);
  subject.map_all();
  u64 i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(subject.lookup(i));
    if (++i == c.calls) i = 0;
  }
}

struct Limits {
  int map;
  int unmap;
};

void add(const std::string& format, Make make, const Limits (&limits)[6]) {
  constexpr u64 k4K = u64{1} << 12, k2M = u64{1} << 21, k1G = u64{1} << 30, k1T = u64{1} << 40;
  const struct {
    std::string size;
    Case c;
  } cases[] = {{"4k", {k1G, k4K, 4096, k4K}},
               {"2m", {k1G, k2M, 4096, k2M}},
               {"1g", {k1T, k1G, 1024, k1G}},
               {"256x4k", {k1G, 256 * k4K, 512, 0}},
               {"256x2m", {k1T, 256 * k2M, 256, 0}},
               {"256x1g", {k1T, 256 * k1G, 64, 0}},
               {"256x4k_scattered", {k1G, 256 * k4K, 512, k4K}}};
  for (std::size_t n = 0; n < std::size(cases); ++n) {
    const auto& [size, c] = cases[n];
    const std::string row = "pt/" + format + "/";
    const Limits limit = n < std::size(limits) ? limits[n] : Limits{};
    const auto label = [](int ns) { return ns != 0 ? "max=" + std::to_string(ns) : std::string(); };
    benchmark::RegisterBenchmark((row + "map_" + size).c_str(), [=](benchmark::State& state) {
      map_unmap(state, make, c, Timed::kMap);
      state.SetLabel(label(limit.map));
    });
    benchmark::RegisterBenchmark((row + "unmap_" + size).c_str(), [=](benchmark::State& state) {
      map_unmap(state, make, c, Timed::kUnmap);
      state.SetLabel(label(limit.unmap));
    });
    benchmark::RegisterBenchmark((row + "lookup_" + size).c_str(), lookup, make, c);
  }
}

// 4 KiB, 2 MiB, 1 GiB, then 256 of each. Unmapping a 256-item entry of AMD v1 is a plain memory fill in the kernel; here
// each item is stored for walkers without locks, so that limit is the one of VT-d.
constexpr Limits kAmdLimits[6] = {{25, 29}, {36, 25}, {33, 21}, {480, 180}, {410, 225}, {350, 220}};
constexpr Limits kVtdLimits[6] = {{27, 30}, {37, 28}, {32, 23}, {295, 180}, {296, 225}, {285, 220}};

const bool registered = [] {
  add("amdv1", make_amd, kAmdLimits);
  add("vtd", make_vtd, kVtdLimits);
  add("x86", make_x86_64, kVtdLimits);
  add("riscv", make_risc_v, kVtdLimits);
  add("lpae", make_lpae, kVtdLimits);
  return true;
}();

}  // namespace

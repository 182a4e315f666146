// SPDX-License-Identifier: BSD-3-Clause
// What pt_bench.cpp measures with: a clock for batches of short calls, and a page table that is filled and emptied call by call.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>

#include "pt/formats.hpp"

namespace iommufd::pt::bench {

inline constexpr u64 k4K = u64{1} << 12, k64K = u64{1} << 16, k1M = u64{1} << 20, k2M = u64{1} << 21,
                     k1G = u64{1} << 30;

// Times batches of calls, so that stopping the clock for what has to happen between batches does not weigh on calls of a few ns.
// A batch during which the thread lost the processor says nothing about the calls: it counts as the one before.
class Stopwatch {
 public:
  // Seconds that `work` takes.
  double time(auto&& work) {
    const Clock::time_point start = Clock::now();
    work();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    fastest_ = std::min(fastest_, seconds);
    if (seconds <= 3 * fastest_) last_ = seconds;
    return last_;
  }

 private:
  using Clock = std::chrono::steady_clock;
  double fastest_ = 1e9;
  double last_ = 0;
};

// Ranges next to each other, one call for each.
struct Ranges {
  u64 start;
  u64 length;   // per call
  u64 calls;    // in a batch
  u64 oa_skew;  // output address minus IOVA
};

using Make = std::unique_ptr<Table> (*)(TableArena&);

class Subject {
 public:
  Subject(Make make, const Ranges& r)
      : ranges_(r), arena_(std::move(TableArena::create({})).value()), table_(make(*arena_)), gather_(*arena_) {}

  void map(u64 i) {
    u64 mapped = 0;
    const u64 va = ranges_.start + i * ranges_.length;
    const PhysAddr pa{va + ranges_.oa_skew};
    if (!table_->map(Iova{va}, pa, ranges_.length, Access::kReadWrite, mapped, gather_)) std::abort();
  }
  void unmap(u64 i) {
    if (table_->unmap(Iova{ranges_.start + i * ranges_.length}, ranges_.length, gather_) != ranges_.length)
      std::abort();
  }
  void map_all() {
    for (u64 i = 0; i < ranges_.calls; ++i) map(i);
  }
  void unmap_all() {
    for (u64 i = 0; i < ranges_.calls; ++i) unmap(i);
  }
  void free_tables() { gather_.free(); }
  // All ranges in one call.
  void map_as_one() {
    u64 mapped = 0;
    const u64 length = ranges_.length * ranges_.calls;
    if (!table_->map(Iova{ranges_.start}, PhysAddr{ranges_.start + ranges_.oa_skew}, length, Access::kReadWrite, mapped,
                     gather_)) {
      std::abort();
    }
  }
  [[nodiscard]] u64 address(u64 i) const { return ranges_.start + i * ranges_.length + 0x123; }
  [[nodiscard]] const Ranges& ranges() const { return ranges_; }
  [[nodiscard]] Table& table() { return *table_; }
  [[nodiscard]] Gather& gather() { return gather_; }

 private:
  const Ranges ranges_;
  std::unique_ptr<TableArena> arena_;
  std::unique_ptr<Table> table_;
  Gather gather_;
};

}  // namespace iommufd::pt::bench

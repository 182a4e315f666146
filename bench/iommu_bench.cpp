// SPDX-License-Identifier: BSD-3-Clause
// The way of a DMA behind an IOMMU, in parts: ns per lookup that the IOTLB answers, that it does not, and per entry that is
// entered or dropped. Rows iommu/...:
//   iotlb_hit              find() in a working set of 64 pages, all of them there
//   iotlb_hit_two_sizes    the same, of 2 MiB pages, with small ones there too
//   iotlb_miss             find() of what is not there, two sizes in use
//   iotlb_insert           what a walk adds after a miss
//   iotlb_replace          invalidate() of a page that is there, then the next walk's insert()
//   iotlb_invalidate_none  invalidate() of a page that is not there: what unmap adds for each attached device
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <memory>

#include "iommu/iotlb.hpp"

namespace {

using namespace iommufd;
using iommu::Iotlb;

constexpr u64 kEntries = 64;
constexpr u64 kStart = u64{1} << 30;

u64 start_of(u64 i, unsigned lg2) { return kStart + ((i % kEntries) << lg2); }
Iotlb::Entry entry(u64 i, unsigned lg2) {
  const u64 start = start_of(i, lg2);
  return {start, PhysAddr{start}, lg2, Access::kReadWrite, false};
}

std::unique_ptr<Iotlb> filled(bool large) {
  auto tlb = std::make_unique<Iotlb>();
  for (u64 i = 0; i < kEntries; ++i) {
    tlb->insert(tlb->generation(), entry(i, 12));
    if (large) tlb->insert(tlb->generation(), entry(i + 1, 21));
  }
  return tlb;
}

void hit(benchmark::State& state, unsigned lg2) {
  const auto tlb = filled(lg2 != 12);
  u64 i = 1;
  for (auto _ : state) {
    const std::optional<Iotlb::Entry> found = tlb->find(start_of(i, lg2) + 0x40);
    if (!found) std::abort();
    benchmark::DoNotOptimize(found->pa);
    if (++i == kEntries) i = 1;
  }
  if (lg2 == 12) state.SetLabel("max=3");
}
BENCHMARK_CAPTURE(hit, small, 12)->Name("iommu/iotlb_hit");
BENCHMARK_CAPTURE(hit, large, 21)->Name("iommu/iotlb_hit_two_sizes");

void miss(benchmark::State& state) {
  const auto tlb = filled(true);
  u64 i = 0;
  for (auto _ : state) {
    if (tlb->find(2 * kStart + start_of(i++, 12))) std::abort();
  }
}
BENCHMARK(miss)->Name("iommu/iotlb_miss");

void insert(benchmark::State& state) {
  const auto tlb = filled(false);
  u64 i = 0;
  for (auto _ : state) tlb->insert(tlb->generation(), entry(i++, 12));
}
BENCHMARK(insert)->Name("iommu/iotlb_insert");

void replace(benchmark::State& state) {
  const auto tlb = filled(false);
  u64 i = 0;
  for (auto _ : state) {
    const u64 start = start_of(i, 12);
    tlb->invalidate({start, start + kPageMask});
    tlb->insert(tlb->generation(), entry(i++, 12));
  }
}
BENCHMARK(replace)->Name("iommu/iotlb_replace");

void invalidate_none(benchmark::State& state) {
  const auto tlb = filled(false);
  u64 i = 0;
  for (auto _ : state) {
    const u64 start = 2 * kStart + start_of(i++, 12);
    tlb->invalidate({start, start + kPageMask});
  }
}
BENCHMARK(invalidate_none)->Name("iommu/iotlb_invalidate_none");

}  // namespace

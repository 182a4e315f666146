// SPDX-License-Identifier: BSD-3-Clause
// How the engine grows with the number of mappings in one IOAS. Rows scale/...:
//   map/N, unmap/N, lookup/N   one mapping of a page among N, in ascending order; at N = 1 million at most 3 times N = 1000
//   lookup_any/N               the same in random order (the caches of the host count)
//   bytes/N                    heap per mapping, the pages object included (N mappings of a page each)
//   allocate_iova              choosing an IOVA behind 100,000 holes that are too small
//   map_1g/KIND                1 GiB that is pinned already, into one more domain
#include <benchmark/benchmark.h>
#include <malloc.h>
#include <sys/mman.h>

#include <bit>
#include <chrono>
#include <random>

#include "core/device.hpp"
#include "core/ioas.hpp"
#include "iommu/device_port.hpp"
#include "iommu/platform.hpp"
#include "tests/support/local_call.hpp"

namespace {

using namespace iommufd;
using Clock = std::chrono::steady_clock;

double seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }
u64 heap_in_use() {
  const struct mallinfo2 info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}

// A context with one IOAS and nothing attached.
class Space {
 public:
  explicit Space(const mem::PhysPolicy& policy = {}, u64 bytes = kPageSize)
      : platform_(std::move(iommu::Platform::create(policy)).value()), bytes_(bytes) {
    core::NewObject<core::Ioas> made = std::move(core::make_object<core::Ioas>(*ctx_, *platform_)).value();
    const ObjectId id = made.id();
    made.publish();
    ioas_ = std::move(ctx_->get<core::Ioas>(id)).value();
    void* p = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    memory_ = std::bit_cast<u64>(p);
  }
  ~Space() {
    ioas_->unmap_all().value();
    ioas_ = {};
    ::munmap(std::bit_cast<void*>(memory_), bytes_);
  }
  Space(const Space&) = delete;
  Space& operator=(const Space&) = delete;

  void map(u64 iova, u64 length = kPageSize) {
    const core::MapRequest request{iova, length, core::Placement::kFixed, Access::kReadWrite};
    ioas_->map(request, caller_.memory(), memory_, caller_.process(), mem::ChargeMode::kNone).value();
  }
  u64 map_anywhere(u64 length) {
    const core::MapRequest request{0, length, core::Placement::kAutomatic, Access::kReadWrite};
    return ioas_->map(request, caller_.memory(), memory_, caller_.process(), mem::ChargeMode::kNone).value();
  }
  core::Ioas& ioas() { return *ioas_; }
  core::Context& context() { return *ctx_; }
  iommu::Platform& platform() { return *platform_; }
  void promise() { caller_.local_memory().promise(UserVa{memory_}, bytes_).value(); }

 private:
  test::LocalCall caller_;
  std::unique_ptr<iommu::Platform> platform_;
  Ref<core::Context> ctx_ = make_ref<core::Context>(*platform_, core::LimitMode::kUser);
  core::Use<core::Ioas> ioas_;
  u64 memory_ = 0;
  const u64 bytes_;
};

constexpr u64 at(u64 n) { return (2 * n + 1) * kPageSize; }  // a hole between any two

enum class Timed { kMap, kUnmap };

void map_unmap(benchmark::State& state, Timed timed) {
  const u64 n = static_cast<u64>(state.range(0));
  Space space;
  while (state.KeepRunningBatch(static_cast<benchmark::IterationCount>(n))) {
    const auto t0 = Clock::now();
    for (u64 i = 0; i < n; ++i) space.map(at(i));
    const auto t1 = Clock::now();
    for (u64 i = 0; i < n; ++i) space.ioas().unmap(at(i), kPageSize).value();
    const auto t2 = Clock::now();
    state.SetIterationTime(seconds(timed == Timed::kMap ? t1 - t0 : t2 - t1));
  }
  if (n > 1000)
    state.SetLabel(std::string("vs=scale/") + (timed == Timed::kMap ? "map" : "unmap") + "/1000 max_ratio=3");
}

enum class Order { kAscending, kRandom };

void lookup(benchmark::State& state, Order order) {
  const u64 n = static_cast<u64>(state.range(0));
  Space space;
  const u64 before = heap_in_use();
  for (u64 i = 0; i < n; ++i) space.map(at(i));
  const double bytes = static_cast<double>(heap_in_use() - before) / static_cast<double>(n);
  std::minstd_rand random(1);
  u64 i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(space.ioas().slices(at(i), kPageSize));
    i = order == Order::kAscending ? i + 1 : random();
    if (i >= n) i %= n;
  }
  if (order == Order::kAscending) state.counters["bytes"] = bytes;
  if (order == Order::kAscending && n > 1000) state.SetLabel("vs=scale/lookup/1000 max_ratio=3");
}

void allocate_iova(benchmark::State& state) {
  Space space(mem::PhysPolicy{}, 4 * kPageSize);
  for (u64 i = 0; i < 100'001; ++i) space.map(at(i));
  while (state.KeepRunning()) {
    const auto t0 = Clock::now();
    const u64 iova = space.map_anywhere(2 * kPageSize);
    const auto t1 = Clock::now();
    space.ioas().unmap(iova, 2 * kPageSize).value();
    state.SetIterationTime(seconds(t1 - t0));
  }
  state.SetLabel("max=2000");
}

// The first domain pins; the second one is filled from what is pinned.
void map_1g(benchmark::State& state, mem::PhysPolicy::Kind kind, const char* label) {
  constexpr u64 kGib = u64{1} << 30;
  Space space({.kind = kind}, kGib);
  iommu::Instance amd(iommu::Kind::kAmd, "ivhd0", space.platform().tables());
  iommu::DevicePort port("0000:01:00.0", &amd, space.platform().phys(), nullptr);
  core::PhysicalDevice physical{"0000:01:00.0", &amd, &port, 0, {}};
  Ref<core::Device> device = std::move(core::Device::bind(Ref<core::Context>(space.context()), physical)).value();
  space.promise();
  space.map(kGib, kGib);
  device->attach_or_replace(core::kRid, space.ioas().id()).value();
  while (state.KeepRunning()) {
    const auto t0 = Clock::now();
    auto made = std::move(core::HwptPaging::create_manual(*device, space.ioas(), 0, {})).value();
    const auto t1 = Clock::now();
    state.SetIterationTime(seconds(t1 - t0));
  }
  device->unbind();
  state.SetLabel(label);
}

BENCHMARK_CAPTURE(map_unmap, map, Timed::kMap)
    ->UseManualTime()
    ->Name("scale/map")
    ->RangeMultiplier(10)
    ->Range(1000, 1'000'000);
BENCHMARK_CAPTURE(map_unmap, unmap, Timed::kUnmap)
    ->UseManualTime()
    ->Name("scale/unmap")
    ->RangeMultiplier(10)
    ->Range(1000, 1'000'000);
BENCHMARK_CAPTURE(lookup, ascending, Order::kAscending)
    ->Name("scale/lookup")
    ->RangeMultiplier(10)
    ->Range(1000, 1'000'000);
BENCHMARK_CAPTURE(lookup, random, Order::kRandom)
    ->Name("scale/lookup_any")
    ->RangeMultiplier(10)
    ->Range(1000, 1'000'000);
BENCHMARK(allocate_iova)->UseManualTime()->Name("scale/allocate_iova");
BENCHMARK_CAPTURE(map_1g, contiguous, mem::PhysPolicy::Kind::kContiguous, "max=1000000")
    ->UseManualTime()
    ->Name("scale/map_1g/contiguous");
BENCHMARK_CAPTURE(map_1g, scattered, mem::PhysPolicy::Kind::kFragmented, "max=3000000")
    ->UseManualTime()
    ->Name("scale/map_1g/scattered");

}  // namespace

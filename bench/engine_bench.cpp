// SPDX-License-Identifier: BSD-3-Clause
// The engine in-process, without a transport: what a VMM that links the library pays. Rows engine/...:
//   map_4k, unmap_4k          IOAS map and unmap of one page of guest RAM with a HWPT attached, devices idle
//   map_4k_any                the same for memory that nobody promised to keep: madvise() checks and populates it
//   map_4k_dma, unmap_4k_dma  the same while another thread's device does DMA all the time
//   get_pa                    IOVA -> physical address of a noiommu IOAS
//   dma_read_8                one 8-byte DMA: page-table walk (none for noiommu), frame, copy
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <atomic>
#include <bit>
#include <chrono>
#include <thread>

#include "core/device.hpp"
#include "core/ioas.hpp"
#include "iommu/device_port.hpp"
#include "iommu/platform.hpp"
#include "tests/support/local_call.hpp"

namespace {

using namespace iommufd;
using Clock = std::chrono::steady_clock;

constexpr u64 kIova = 0x10'0000;

enum class Memory { kPromised, kAny };

// A context with one attached device and one page of memory.
class Rig {
 public:
  explicit Rig(iommu::Kind kind, Memory memory = Memory::kPromised)
      : platform_(std::move(iommu::Platform::create({})).value()),
        instance_(kind, "iommu0", platform_->tables()),
        port_("0000:01:00.0", kind == iommu::Kind::kNone ? nullptr : &instance_, platform_->phys(), nullptr),
        physical_{"0000:01:00.0", kind == iommu::Kind::kNone ? nullptr : &instance_, &port_, 0, {}},
        ctx_(make_ref<core::Context>(*platform_, core::LimitMode::kUser)) {
    port_.set_bus_master(true);
    core::NewObject<core::Ioas> made = std::move(core::make_object<core::Ioas>(*ctx_, *platform_)).value();
    const ObjectId id = made.id();
    made.publish();
    ioas_ = std::move(ctx_->get<core::Ioas>(id)).value();
    device_ = std::move(core::Device::bind(ctx_, physical_)).value();
    device_->attach_or_replace(core::kRid, id).value();
    void* p =
        ::mmap(nullptr, kPages * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    memory_ = std::bit_cast<u64>(p);
    if (memory == Memory::kPromised) caller_.local_memory().promise(UserVa{memory_}, kPages * kPageSize).value();
  }
  ~Rig() {
    ioas_->unmap_all().value();
    device_->unbind();
    ioas_ = {};
    ::munmap(std::bit_cast<void*>(memory_), kPages * kPageSize);
  }
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;

  void map(u64 iova, u64 page) {
    const core::MapRequest request{iova, kPageSize, core::Placement::kFixed, Access::kReadWrite};
    ioas_->map(request, caller_.memory(), memory_ + page * kPageSize, caller_.process(), mem::ChargeMode::kUser)
        .value();
  }
  void unmap(u64 iova) { ioas_->unmap(iova, kPageSize).value(); }
  core::Ioas& ioas() { return *ioas_; }
  iommu::DevicePort& port() { return port_; }

  static constexpr u64 kPages = 64;

 private:
  test::LocalCall caller_;
  std::unique_ptr<iommu::Platform> platform_;
  iommu::Instance instance_;
  iommu::DevicePort port_;
  core::PhysicalDevice physical_;
  Ref<core::Context> ctx_;
  core::Use<core::Ioas> ioas_;
  Ref<core::Device> device_;
  u64 memory_ = 0;
};

enum class Traffic { kIdle, kDma };
enum class Timed { kMap, kUnmap };

void map_unmap(benchmark::State& state, iommu::Kind kind, Traffic traffic, Timed timed,
               Memory memory = Memory::kPromised) {
  Rig rig(kind, memory);
  std::atomic<bool> stop{false};
  std::jthread device;
  if (traffic == Traffic::kDma) {
    rig.map(kIova + Rig::kPages * kPageSize, 0);
    device = std::jthread([&] {
      std::byte buf[64];
      while (!stop.load(std::memory_order_relaxed))
        static_cast<void>(rig.port().read(kIova + Rig::kPages * kPageSize, buf));
    });
  }
  while (state.KeepRunningBatch(Rig::kPages)) {
    const auto t0 = Clock::now();
    for (u64 i = 0; i < Rig::kPages; ++i) rig.map(kIova + i * kPageSize, i);
    const auto t1 = Clock::now();
    for (u64 i = 0; i < Rig::kPages; ++i) rig.unmap(kIova + i * kPageSize);
    const auto t2 = Clock::now();
    const auto spent = timed == Timed::kMap ? t1 - t0 : t2 - t1;
    state.SetIterationTime(std::chrono::duration<double>(spent).count());
  }
  stop = true;
}

void get_pa(benchmark::State& state) {
  Rig rig(iommu::Kind::kNone);
  rig.map(kIova, 0);
  for (auto _ : state) benchmark::DoNotOptimize(rig.ioas().noiommu_phys(kIova + 0x80, ~u64{0}));
}

void iova_to_frame(benchmark::State& state, iommu::Kind kind) {
  Rig rig(kind);
  rig.map(kIova, 0);
  u64 addr = kIova;
  if (kind == iommu::Kind::kNone) addr = rig.ioas().noiommu_phys(kIova, 1)->phys.raw();
  std::byte b[8];
  for (auto _ : state) benchmark::DoNotOptimize(rig.port().read(addr, b));
}

BENCHMARK_CAPTURE(map_unmap, map_amd, iommu::Kind::kAmd, Traffic::kIdle, Timed::kMap)
    ->UseManualTime()
    ->Name("engine/map_4k/amd");
BENCHMARK_CAPTURE(map_unmap, unmap_amd, iommu::Kind::kAmd, Traffic::kIdle, Timed::kUnmap)
    ->UseManualTime()
    ->Name("engine/unmap_4k/amd");
BENCHMARK_CAPTURE(map_unmap, map_vtd, iommu::Kind::kVtd, Traffic::kIdle, Timed::kMap)
    ->UseManualTime()
    ->Name("engine/map_4k/vtd");
BENCHMARK_CAPTURE(map_unmap, unmap_vtd, iommu::Kind::kVtd, Traffic::kIdle, Timed::kUnmap)
    ->UseManualTime()
    ->Name("engine/unmap_4k/vtd");
BENCHMARK_CAPTURE(map_unmap, map_none, iommu::Kind::kNone, Traffic::kIdle, Timed::kMap)
    ->UseManualTime()
    ->Name("engine/map_4k/noiommu");
BENCHMARK_CAPTURE(map_unmap, unmap_none, iommu::Kind::kNone, Traffic::kIdle, Timed::kUnmap)
    ->UseManualTime()
    ->Name("engine/unmap_4k/noiommu");
BENCHMARK_CAPTURE(map_unmap, map_any, iommu::Kind::kAmd, Traffic::kIdle, Timed::kMap, Memory::kAny)
    ->UseManualTime()
    ->Name("engine/map_4k_any/amd");
BENCHMARK_CAPTURE(map_unmap, map_dma, iommu::Kind::kAmd, Traffic::kDma, Timed::kMap)
    ->UseManualTime()
    ->Name("engine/map_4k_dma/amd");
BENCHMARK_CAPTURE(map_unmap, unmap_dma, iommu::Kind::kAmd, Traffic::kDma, Timed::kUnmap)
    ->UseManualTime()
    ->Name("engine/unmap_4k_dma/amd");
BENCHMARK(get_pa)->Name("engine/get_pa");
BENCHMARK_CAPTURE(iova_to_frame, amd, iommu::Kind::kAmd)->Name("engine/dma_read_8/amd");
BENCHMARK_CAPTURE(iova_to_frame, vtd, iommu::Kind::kVtd)->Name("engine/dma_read_8/vtd");
BENCHMARK_CAPTURE(iova_to_frame, none, iommu::Kind::kNone)->Name("engine/dma_read_8/noiommu");

}  // namespace

// SPDX-License-Identifier: BSD-3-Clause
// What a DMA costs that a device makes to the memory of a shared file (a client's memfd), beside a memcpy of as many bytes. The bytes of the
// device come from a disk of 64 MiB that is read here and there; the 1 MiB of the client is the same each time, its frames are
// scattered. Rows iommu/...:
//   memcpy_1m, memcpy_8       as many bytes without a device
//   dma_1m/amd                one write of 1 MiB, by page table and IOTLB
//   dma_1m/noiommu            256 pieces of a page each, by physical addresses
//   dma_8/amd, dma_8/noiommu  8 bytes
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "iommu/device_port.hpp"
#include "iommu/platform.hpp"
#include "mem/file_space.hpp"
#include "mem/guarded_copy.hpp"

namespace {

using namespace iommufd;

constexpr u64 k1M = 1 << 20, kDisk = 64 << 20, kPages = k1M / kPageSize;
constexpr Iova kIova{u64{1} << 30};

void check(bool good) {
  if (!good) std::abort();
}

std::span<const std::byte> block(u64 size) {
  static const std::vector<std::byte> disk(kDisk, std::byte{1});
  static u64 next = 0;
  next = (next + 17 * k1M) % kDisk;
  return std::span(disk).subspan(next, size);
}

// A device with 1 MiB of a client's file.
class Rig {
 public:
  explicit Rig(iommu::Kind kind) : kind_(kind) {
    check(mem::enable_guarded_copies());
    Fd fd(::memfd_create("client", MFD_CLOEXEC));
    check(::ftruncate(fd.get(), k1M) == 0);
    memory_ = make_ref<mem::FileSpace>(std::move(fd));
    std::vector<mem::PageRun> runs;
    check(memory_->populate(UserVa{0}, kPages, Access::kReadWrite, runs).has_value());
    check(platform_->phys().pin(*memory_, UserVa{0}, runs.front(), frames_).has_value());
    port_.set_bus_master(true);
    if (kind_ == iommu::Kind::kNone) return;
    pt::Gather gather(platform_->tables());
    for (u64 i = 0; i < kPages; ++i)
      check(domain_->map(advance(kIova, i * kPageSize), frames_[i], kPageSize, Access::kReadWrite, gather).has_value());
    gather.free();
    port_.attach(domain_.get());
  }
  ~Rig() {
    if (kind_ != iommu::Kind::kNone) port_.attach(nullptr);
    platform_->phys().unpin_and_release(frames_);
  }
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;

  void write(std::span<const std::byte> bytes) {
    if (kind_ != iommu::Kind::kNone) return check(port_.write(kIova.raw(), bytes).has_value());
    pieces_.clear();
    for (u64 i = 0; i * kPageSize < bytes.size(); ++i)
      pieces_.push_back({frames_[i].raw(), bytes.subspan(i * kPageSize, std::min(kPageSize, bytes.size()))});
    check(port_.write_pieces(pieces_).has_value());
  }

 private:
  const iommu::Kind kind_;
  std::unique_ptr<iommu::Platform> platform_ = std::move(*iommu::Platform::create({}));
  iommu::Instance iommu_{kind_, "iommu0", platform_->tables()};
  iommu::DevicePort port_{"0000:01:00.0", kind_ == iommu::Kind::kNone ? nullptr : &iommu_, platform_->phys(), nullptr};
  std::unique_ptr<iommu::Domain> domain_ = std::move(*iommu_.alloc_domain({}, {}));
  Ref<mem::FileSpace> memory_;
  std::vector<PhysAddr> frames_ = std::vector<PhysAddr>(kPages);
  std::vector<iommu::DmaWritePiece> pieces_;
};

void copy(benchmark::State& state, u64 size) {
  void* const to = ::mmap(nullptr, k1M, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  check(to != MAP_FAILED);
  for (auto _ : state) {
    std::memcpy(to, block(size).data(), size);
    benchmark::ClobberMemory();
  }
  ::munmap(to, k1M);
}
BENCHMARK_CAPTURE(copy, large, k1M)->Name("iommu/memcpy_1m");
BENCHMARK_CAPTURE(copy, small, 8)->Name("iommu/memcpy_8");

void dma(benchmark::State& state, iommu::Kind kind, u64 size) {
  Rig rig(kind);
  rig.write(block(k1M));
  for (auto _ : state) rig.write(block(size));
  state.SetLabel(size == 8 ? "vs=iommu/memcpy_8" : "vs=iommu/memcpy_1m max_ratio=2");
}
BENCHMARK_CAPTURE(dma, large_amd, iommu::Kind::kAmd, k1M)->Name("iommu/dma_1m/amd");
BENCHMARK_CAPTURE(dma, large_noiommu, iommu::Kind::kNone, k1M)->Name("iommu/dma_1m/noiommu");
BENCHMARK_CAPTURE(dma, small_amd, iommu::Kind::kAmd, 8)->Name("iommu/dma_8/amd");
BENCHMARK_CAPTURE(dma, small_noiommu, iommu::Kind::kNone, 8)->Name("iommu/dma_8/noiommu");

}  // namespace

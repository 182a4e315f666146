// SPDX-License-Identifier: BSD-3-Clause
// What a command costs the NVMe controller itself: ns per command of 4 KiB with the blocks in memory, and a DMA that is a
// memcpy. Rows models/nvme_...:
//   read, write      batches of 1 and of 32 commands, from a trapped doorbell to the interrupt
//   idle             one look at a mapped controller that has nothing to do
#include <benchmark/benchmark.h>

#include <cstring>

#include "base/sys.hpp"
#include "models/nvme/controller.hpp"
#include "models/nvme/ram_store.hpp"

namespace {

using namespace iommufd;
using namespace iommufd::models;
using namespace iommufd::models::nvme;

class Memory final : public iommu::DmaPort {
 public:
  std::vector<std::byte> bytes = std::vector<std::byte>(4 << 20);
  Result<void> read_pieces(std::span<const iommu::DmaReadPiece> pieces) override {
    for (const auto& piece : pieces) std::memcpy(piece.bytes.data(), bytes.data() + piece.addr, piece.bytes.size());
    return {};
  }
  Result<void> write_pieces(std::span<const iommu::DmaWritePiece> pieces) override {
    for (const auto& piece : pieces) std::memcpy(bytes.data() + piece.addr, piece.bytes.data(), piece.bytes.size());
    return {};
  }
  void set_bus_master(bool) override {}
};

class Interrupts final : public pci::InterruptPort {
 public:
  bool message_signalled() const override { return true; }
  void send_message(u32) override { ++sent; }
  void set_line(pci::Level) override {}
  u64 sent = 0;
};

constexpr u64 kAdminSq = 0x1000, kAdminCq = 0x2000, kSq = 0x3000, kCq = 0x5000, kData = 0x100000;
constexpr u32 kEntries = 64;

// A controller with one pair of I/O queues.
struct Bench {
  Bench() {
    store(reg::kAqa, 0x001f001f);
    store(reg::kAsq, kAdminSq);
    store(reg::kAcq, kAdminCq);
    store(reg::kCc, 0x00460001);
    Sqe cq{.opcode = 5, .data = {kCq, 0}, .cdw10 = 1 | (kEntries - 1) << 16, .cdw11 = 3};
    Sqe sq{.opcode = 1, .data = {kSq, 0}, .cdw10 = 1 | (kEntries - 1) << 16, .cdw11 = 1 | 1 << 16};
    std::memcpy(memory.bytes.data() + kAdminSq, &cq, sizeof cq);
    std::memcpy(memory.bytes.data() + kAdminSq + 64, &sq, sizeof sq);
    store(doorbell_offset(0), 2);
  }
  void store(u64 offset, u32 value) { controller.bar_write(0, offset, 4, value); }
  void run(u8 opcode, u32 batch) {
    for (u32 i = 0; i < batch; ++i) {
      const Sqe sqe{.opcode = opcode,
                    .nsid = 1,
                    .data = {kData + u64{i} * kPageSize, 0},
                    .cdw10 = (block += 8) % 65536,
                    .cdw12 = 7};
      std::memcpy(memory.bytes.data() + kSq + u64{tail} * 64, &sqe, sizeof sqe);
      tail = (tail + 1) % kEntries;
    }
    store(doorbell_offset(2), tail);
    head = (head + batch) % kEntries;
    store(doorbell_offset(3), head);
  }

  NvmeConfig config{};
  Memory memory;
  Interrupts interrupts;
  Poller poller;
  sys::Mapping bar = std::move(*sys::Mapping::anonymous(kBarSize));
  Controller controller{config, std::make_unique<RamStore>(std::move(*sys::Mapping::anonymous(config.namespace_size))),
                        pci::ModelPorts{memory, interrupts, [](std::string_view) {}}, poller};
  u32 tail = 0, head = 0, block = 0;
};

void commands(benchmark::State& state, u8 opcode) {
  Bench bench;
  const auto batch = static_cast<u32>(state.range(0));
  for (u32 i = 0; i < 512; ++i) bench.run(1, 32);  // every page is there
  const u64 before = bench.interrupts.sent;
  for (auto _ : state) bench.run(opcode, batch);
  if (bench.interrupts.sent - before < static_cast<u64>(state.iterations())) state.SkipWithError("commands were lost");
  state.SetItemsProcessed(state.iterations() * batch);
}

void idle(benchmark::State& state) {
  Bench bench;
  bench.controller.attach_memory(0, bench.bar.bytes());
  for (auto _ : state) benchmark::DoNotOptimize(bench.controller.poll());
  bench.controller.detach_memory(0);
}

BENCHMARK_CAPTURE(commands, nvme_read, 2)->Name("models/nvme_read")->Arg(1)->Arg(32);
BENCHMARK_CAPTURE(commands, nvme_write, 1)->Name("models/nvme_write")->Arg(1)->Arg(32);
BENCHMARK(idle)->Name("models/nvme_idle");

}  // namespace

// SPDX-License-Identifier: BSD-3-Clause
// An edu with memory and interrupts around it, and a driver's words for it.
#pragma once

#include <numeric>

#include "models/edu.hpp"
#include "tests/support/fake_device.hpp"

namespace iommufd::models {

class EduTest : public testing::Test {
 protected:
  void make(const EduConfig& config) {
    edu.reset();
    edu = std::make_unique<Edu>(
        config, pci::ModelPorts{dma, irq, [this](std::string_view line) { notes.emplace_back(line); }}, poller);
  }
  void SetUp() override { make({}); }

  u32 get(u64 offset) { return static_cast<u32>(edu->bar_read(0, offset, 4)); }
  u64 get64(u64 offset) { return edu->bar_read(0, offset, 8); }
  void set(u64 offset, u64 value) { edu->bar_write(0, offset, 4, value & 0xffffffff); }
  void set64(u64 offset, u64 value) { edu->bar_write(0, offset, 8, value); }
  void command(u64 source, u64 dest, u64 count, u64 cmd) {
    set64(edu::kDmaSource, source);
    set64(edu::kDmaDest, dest);
    set64(edu::kDmaCount, count);
    set64(edu::kDmaCommand, cmd);
  }
  void to_device(u64 bus, u64 offset, u64 count, u64 more = 0) {
    command(bus, edu::kBuffer + offset, count, edu::kDmaRun | more);
  }
  void to_memory(u64 offset, u64 bus, u64 count, u64 more = 0) {
    command(edu::kBuffer + offset, bus, count, edu::kDmaRun | edu::kDmaToMemory | more);
  }
  std::span<u8> memory(u64 at, std::size_t size) {
    return {reinterpret_cast<u8*>(dma.memory.data()) + (at - test::FakeDma::kBase), size};
  }
  void fill(u64 at, std::size_t size, u8 first) { std::iota(memory(at, size).begin(), memory(at, size).end(), first); }

  static constexpr u64 kA = test::FakeDma::kBase, kB = kA + 0x10000;
  test::FakeDma dma;
  test::FakeInterrupts irq;
  std::vector<std::string> notes;
  Poller poller;
  std::unique_ptr<Edu> edu;
};

}  // namespace iommufd::models

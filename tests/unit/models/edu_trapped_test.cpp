// SPDX-License-Identifier: BSD-3-Clause
// edu, each access trapped (spec edu 2, 5 and 6).
#include <thread>

#include "tests/unit/models/edu_fixture.hpp"

namespace iommufd::models {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr u32 kOnes = ~u32{0};

TEST_F(EduTest, identification_is_version_1_0) {
  EXPECT_EQ(get(0x00), 0x010000edu);
  set(0x00, 0);
  EXPECT_EQ(get(0x00), 0x010000edu);
}

TEST_F(EduTest, liveness_is_the_inverse) {
  for (const u32 v : {0u, 1u, 0xffffffffu, 0xaaaaaaaau}) {
    set(0x04, v);
    EXPECT_EQ(get(0x04), ~v);
  }
}

TEST_F(EduTest, factorial_wraps_modulo_two_to_the_32) {
  u32 expected = 1;
  for (u32 n = 0; n <= 13; ++n) {
    if (n > 1) expected *= n;
    set(0x08, n);
    EXPECT_EQ(get(0x20) & 1, 0u);
    EXPECT_EQ(get(0x08), expected) << n;
  }
  for (const u32 n : {34u, 100u, 0xffffffffu}) {
    set(0x08, n);
    EXPECT_EQ(get(0x08), 0u);
  }
}

TEST_F(EduTest, factorial_interrupts_when_asked_to) {
  set(0x20, 0x80);
  EXPECT_EQ(get(0x20), 0x80u);
  set(0x08, 5);
  EXPECT_EQ(irq.sent, 1);
  EXPECT_EQ(get(0x24), 1u);
  EXPECT_EQ(get(0x08), 120u);
  set(0x64, 1);
  EXPECT_EQ(get(0x24), 0u);
  EXPECT_EQ(get(0x20), 0x80u);  // bit 7 stays
}

TEST_F(EduTest, only_bit_7_of_status_is_writable) {
  set(0x20, kOnes);
  EXPECT_EQ(get(0x20), 0x80u);
  set(0x20, 0);
  EXPECT_EQ(get(0x20), 0u);
}

TEST_F(EduTest, every_raise_sends_a_message) {
  set(0x60, 1);
  set(0x60, 2);
  EXPECT_EQ(get(0x24), 3u);
  EXPECT_EQ(irq.sent, 2);
  set(0x60, 2);
  EXPECT_EQ(irq.sent, 3);
  set(0x64, 1);
  EXPECT_EQ(get(0x24), 2u);
  set(0x60, 0);  // some are still set: sent again
  EXPECT_EQ(irq.sent, 4);
  set(0x64, 2);
  EXPECT_EQ(get(0x24), 0u);
  set(0x60, 0);
  EXPECT_EQ(irq.sent, 4);
}

TEST_F(EduTest, intx_line_falls_when_all_is_acknowledged) {
  irq.messages = false;
  set(0x60, 3);
  EXPECT_EQ(irq.level, pci::Level::kHigh);
  set(0x64, 1);
  EXPECT_EQ(irq.level, pci::Level::kHigh);
  set(0x64, 2);
  EXPECT_EQ(irq.level, pci::Level::kLow);
  EXPECT_EQ(irq.sent, 0);
}

TEST_F(EduTest, changing_to_messages_does_not_move_the_line) {
  irq.messages = false;
  set(0x60, 1);
  irq.messages = true;
  set(0x64, 1);
  EXPECT_EQ(irq.level, pci::Level::kHigh);
}

TEST_F(EduTest, interrupt_status_is_read_only_and_raise_and_acknowledge_read_ones) {
  set(0x24, 5);
  EXPECT_EQ(get(0x24), 0u);
  EXPECT_EQ(get(0x60), kOnes);
  EXPECT_EQ(get(0x64), kOnes);
}

TEST_F(EduTest, sizes_that_are_not_served_read_ones_and_write_nothing) {
  for (const u32 size : {1u, 2u, 8u}) {
    EXPECT_EQ(edu->bar_read(0, 0, size), ~u64{0}) << size;
    edu->bar_write(0, 0x08 & ~(u64{size} - 1), size, 5);
  }
  EXPECT_EQ(get(0x08), 0u);
  edu->bar_write(0, 0x80, 2, 0x1234);
  EXPECT_EQ(get64(0x80), 0u);
  EXPECT_EQ(edu->bar_read(0, 0x80, 2), ~u64{0});
}

TEST_F(EduTest, offsets_without_a_register_read_ones) {
  for (const u64 offset : {0x0cu, 0x28u, 0x68u, 0xa0u, 0x84u, 0x8cu, 0x94u, 0x9cu, 0x40000u, 0xffffcu}) {
    set(offset, 0x1234);
    EXPECT_EQ(get(offset), kOnes) << offset;
  }
}

TEST_F(EduTest, four_byte_writes_clear_the_upper_word) {
  set64(0x80, 0x123456789abcdef0);
  EXPECT_EQ(get(0x80), 0x9abcdef0u);
  EXPECT_EQ(get64(0x80), 0x123456789abcdef0u);
  set(0x80, 0x11);
  EXPECT_EQ(get64(0x80), 0x11u);
  set(0x84, 0x22);  // not decoded
  EXPECT_EQ(get64(0x80), 0x11u);
}

TEST_F(EduTest, dma_moves_both_ways) {
  for (const u64 count : {u64{1}, u64{100}, u64{4096}}) {
    fill(kA, 4096, static_cast<u8>(count));
    std::ranges::fill(memory(kB, 4096), u8{0});
    to_device(kA, 0, count);
    EXPECT_EQ(get64(0x98), 0u);  // bit 0 is clear: done
    to_memory(0, kB, count);
    EXPECT_EQ(get64(0x98), 2u);  // bits 1 and 2 stay readable
    EXPECT_TRUE(std::ranges::equal(memory(kA, count), memory(kB, count))) << count;
    if (count < 4096) {
      EXPECT_EQ(memory(kB + count, 1)[0], 0) << "nothing beyond the count";
    }
  }
  EXPECT_EQ(irq.sent, 0);
}

TEST_F(EduTest, dma_reaches_the_last_byte_of_the_buffer) {
  fill(kA, 1, 0x77);
  to_device(kA, 0xfff, 1);
  to_memory(0xfff, kB, 1);
  EXPECT_EQ(memory(kB, 1)[0], 0x77);
  EXPECT_THAT(notes, IsEmpty());
}

TEST_F(EduTest, the_same_command_runs_again) {
  fill(kA, 16, 1);
  to_device(kA, 0, 16);
  fill(kA, 16, 100);
  set64(0x98, 1);
  to_memory(0, kB, 16);
  EXPECT_EQ(memory(kB, 1)[0], 100);
  EXPECT_EQ(dma.transactions, 3);
}

TEST_F(EduTest, command_without_bit_0_is_dropped) {
  set64(0x98, 6);
  EXPECT_EQ(get64(0x98), 0u);
  EXPECT_EQ(dma.transactions, 0);
}

TEST_F(EduTest, dma_interrupts_when_asked_to) {
  to_device(kA, 0, 16, edu::kDmaIrq);
  EXPECT_EQ(irq.sent, 1);
  EXPECT_EQ(get(0x24), 0x100u);
  EXPECT_EQ(get64(0x98), 4u);
}

TEST_F(EduTest, bad_device_address_moves_nothing_and_completes) {
  struct Bad {
    u64 start, count;
  };
  for (const Bad bad : {Bad{0x40001, 4096}, Bad{0x40000, 0}, Bad{0x40000, 4097}, Bad{0x3ffff, 1}, Bad{0x41000, 1},
                        Bad{0x40800, ~u64{0}}, Bad{0, 4}, Bad{~u64{0}, 2}}) {
    notes.clear();
    const int before = irq.sent;
    command(kA, bad.start, bad.count, edu::kDmaRun | edu::kDmaIrq);
    EXPECT_EQ(get64(0x98) & 1, 0u);
    EXPECT_EQ(irq.sent, before + 1);
    ASSERT_EQ(notes.size(), 1u);
    EXPECT_THAT(notes[0], HasSubstr("outside its buffer"));
  }
  EXPECT_EQ(dma.transactions, 0);
}

TEST_F(EduTest, addresses_above_the_mask_are_cut_off) {
  make({.dma_mask_bits = 28});
  fill(kA, 16, 1);
  to_device(kA | u64{1} << 28, 0, 16);
  EXPECT_THAT(notes, ElementsAre(HasSubstr("above the mask of 28 bits")));
  to_memory(0, kB, 16);
  EXPECT_TRUE(std::ranges::equal(memory(kA, 16), memory(kB, 16)));
}

TEST_F(EduTest, a_wide_mask_passes_all_bits) {
  make({.dma_mask_bits = 64});
  to_device(kA | u64{1} << 63, 0, 16);
  EXPECT_THAT(notes, IsEmpty());
  EXPECT_EQ(dma.transactions, 1);  // and the port aborts it
}

TEST_F(EduTest, a_fault_keeps_the_buffer_and_completes) {
  fill(kA, 16, 1);
  to_device(kA, 0, 16);
  to_device(0, 0, 16, edu::kDmaIrq);  // nothing there
  EXPECT_EQ(irq.sent, 1);
  to_memory(0, kB, 16);
  EXPECT_TRUE(std::ranges::equal(memory(kA, 16), memory(kB, 16)));
}

TEST_F(EduTest, bus_mastering_off_moves_nothing_and_completes) {
  fill(kA, 16, 1);
  dma.bus_master = false;
  to_device(kA, 0, 16, edu::kDmaIrq);
  EXPECT_EQ(irq.sent, 1);
  dma.bus_master = true;
  to_memory(0, kB, 16);
  EXPECT_EQ(memory(kB + 1, 1)[0], 0);
}

TEST_F(EduTest, qemu72_refuses_the_last_byte) {
  make({.last_buffer_byte_usable = false});
  to_device(kA, 0, 4096);
  EXPECT_EQ(dma.transactions, 0);
  to_device(kA, 0, 4095);
  EXPECT_EQ(dma.transactions, 1);
}

TEST_F(EduTest, reset_clears_everything) {
  irq.messages = false;
  fill(kA, 16, 1);
  to_device(kA, 0, 16);
  set(0x04, 7);
  set(0x08, 5);
  set(0x20, 0x80);
  set(0x60, 9);
  edu->reset();
  for (const u64 offset : {0x04u, 0x08u, 0x20u, 0x24u, 0x80u, 0x88u, 0x90u, 0x98u})
    EXPECT_EQ(get(offset), 0u) << offset;
  EXPECT_EQ(irq.level, pci::Level::kLow);
  to_memory(0, kB, 16);
  EXPECT_EQ(memory(kB + 1, 1)[0], 0);
}

TEST_F(EduTest, a_delayed_dma_is_busy_first_and_done_by_itself_later) {
  make({.dma_delay = std::chrono::milliseconds(20)});
  fill(kA, 16, 1);
  const auto start = pci::Clock::now();
  to_device(kA, 0, 16, edu::kDmaIrq);
  EXPECT_EQ(get64(0x98), 5u);
  EXPECT_EQ(dma.transactions, 0);
  set64(0x80, 0);  // dropped: a DMA runs
  set64(0x98, 3);
  EXPECT_EQ(get64(0x80), kA);
  while (irq.sent == 0 && pci::Clock::now() - start < std::chrono::seconds(10)) std::this_thread::yield();
  EXPECT_EQ(irq.sent, 1);
  EXPECT_GE(pci::Clock::now() - start, std::chrono::milliseconds(20));
  EXPECT_EQ(get64(0x98), 4u);
  EXPECT_EQ(dma.transactions, 1);
}

TEST_F(EduTest, reset_stops_a_delayed_dma) {
  make({.dma_delay = std::chrono::milliseconds(5)});
  to_device(kA, 0, 16, edu::kDmaIrq);
  edu->reset();
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  edu->poll();
  EXPECT_EQ(dma.transactions, 0);
  EXPECT_EQ(irq.sent, 0);
}

TEST_F(EduTest, operands_written_while_busy_are_dropped) {
  fill(kA, 16, 1);
  fill(kB, 16, 101);
  dma.during = [this] {
    dma.during = [] {};
    set64(0x80, kB);
    set64(0x90, 1);
    set64(0x98, 7);
    EXPECT_EQ(get64(0x98), 1u);
  };
  to_device(kA, 0, 16);
  EXPECT_EQ(get64(0x80), kA);
  EXPECT_EQ(get64(0x90), 16u);
  EXPECT_EQ(dma.transactions, 1);
}

// On a busy machine the reset may begin only after the transfer, which then interrupts: that shows nothing, and is tried again.
TEST_F(EduTest, reset_waits_for_a_transfer_in_flight_and_silences_it) {
  bool silenced = false;
  for (int attempt = 0; attempt < 50 && !silenced; ++attempt) {
    std::atomic<int> stage{0};
    irq.sent = 0;
    dma.during = [&] {
      stage = 1;
      while (stage != 2) std::this_thread::yield();
    };
    std::jthread client([this] { to_memory(0, kA, 16, edu::kDmaIrq); });
    while (stage != 1) std::this_thread::yield();
    std::atomic<bool> reset_done{false};
    std::jthread closer([&] {
      edu->reset();
      reset_done = true;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_FALSE(reset_done);
    stage = 2;
    closer.join();
    silenced = irq.sent == 0;
    const std::vector<std::byte> after = dma.memory;
    client.join();
    EXPECT_EQ(dma.memory, after);
    EXPECT_EQ(get64(0x98), 0u);
  }
  EXPECT_TRUE(silenced);
}

TEST_F(EduTest, registers_stand_many_threads) {
  std::vector<std::jthread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([this, t] {
      for (u32 i = 0; i < 300; ++i) {
        set(0x04, i);
        set(0x60, 1);
        set(0x64, 1);
        to_device(kA, 0, 64, edu::kDmaIrq);
        if (t == 0 && i % 50 == 0) edu->reset();
        get(0x24);
      }
    });
  }
  threads.clear();
  edu->reset();
  EXPECT_EQ(get(0x24), 0u);
}

}  // namespace
}  // namespace iommufd::models

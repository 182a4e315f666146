// SPDX-License-Identifier: BSD-3-Clause
// edu with BAR 0 mapped: what a client's stores do, and what a look at memory cannot see (spec edu 3).
#include <atomic>
#include <thread>

#include "base/sys.hpp"
#include "tests/unit/models/edu_fixture.hpp"

namespace iommufd::models {
namespace {

class MappedEdu : public EduTest {
 protected:
  void SetUp() override {
    make({});
    bar = std::move(*sys::Mapping::anonymous(edu::kBarSize));
    edu->attach_memory(0, bar.bytes());
  }
  void TearDown() override {
    if (edu) edu->detach_memory(0);
  }
  // The client's loads and stores.
  std::atomic_ref<u32> reg(u64 offset) { return std::atomic_ref(*reinterpret_cast<u32*>(bar.bytes().data() + offset)); }
  std::atomic_ref<u64> reg64(u64 offset) {
    return std::atomic_ref(*reinterpret_cast<u64*>(bar.bytes().data() + offset));
  }
  void store_dma(u64 source, u64 dest, u64 count, u64 cmd) {
    reg64(0x80) = source;
    reg64(0x88) = dest;
    reg64(0x90) = count;
    reg64(0x98).store(cmd, std::memory_order_release);
  }
  template <class Done>
  static bool soon(Done done) {
    const auto end = pci::Clock::now() + std::chrono::seconds(10);
    while (!done()) {
      if (pci::Clock::now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  }
  sys::Mapping bar;
};

TEST_F(MappedEdu, shows_the_registers_at_once) {
  EXPECT_EQ(reg(0x00), 0x010000edu);
  EXPECT_EQ(reg(0x04), 0u);
  EXPECT_EQ(reg64(0x98), 0u);
  EXPECT_EQ(reg(0x0c), ~u32{0});  // no register
}

TEST_F(MappedEdu, the_poller_answers_by_itself) {
  reg(0x04) = 0x1234;
  EXPECT_TRUE(soon([&] { return reg(0x04) == ~u32{0x1234}; }));
  EXPECT_EQ(get(0x04), ~u32{0x1234});
}

TEST_F(MappedEdu, a_trapped_access_sees_what_was_stored_before) {
  reg(0x04) = 77;
  EXPECT_EQ(get(0x04), ~u32{77});
  set(0x04, 5);
  EXPECT_EQ(reg(0x04), ~u32{5});
}

TEST_F(MappedEdu, factorial_by_interrupt) {
  reg(0x20) = 0x80;
  reg(0x08) = 5;
  EXPECT_TRUE(soon([&] { return irq.sent == 1; }));
  EXPECT_EQ(reg(0x08), 120u);  // in place before the message
  EXPECT_EQ(reg(0x24), 1u);
  reg(0x64) = 1;
  EXPECT_TRUE(soon([&] { return reg(0x24) == 0u; }));
}

TEST_F(MappedEdu, factorial_by_waiting_for_a_change) {
  reg(0x08) = 10;
  EXPECT_TRUE(soon([&] { return reg(0x08) == 3628800u; }));
  EXPECT_EQ(irq.sent, 0);
}

// Documented limits: a store of what is shown already cannot be seen.
TEST_F(MappedEdu, a_store_of_the_shown_value_is_not_seen) {
  set(0x20, 0x80);
  reg(0x08) = 1;
  edu->poll();
  EXPECT_EQ(irq.sent, 1);  // 0 -> 1
  reg(0x08) = 1;
  edu->poll();
  EXPECT_EQ(irq.sent, 1);
  reg(0x60) = 0;
  edu->poll();
  EXPECT_EQ(irq.sent, 1);
}

TEST_F(MappedEdu, equal_interrupt_stores_are_seen_each) {
  for (int i = 1; i <= 3; ++i) {
    reg(0x60) = 4;
    edu->poll();
    EXPECT_EQ(irq.sent, i);
    EXPECT_EQ(reg(0x60), 0u);
  }
  EXPECT_EQ(reg(0x24), 4u);
}

TEST_F(MappedEdu, acknowledge_is_served_before_new_raises) {
  set(0x60, 1);
  reg(0x60) = 1;
  reg(0x64) = 1;
  edu->poll();
  EXPECT_EQ(reg(0x24), 1u);
  EXPECT_EQ(irq.sent, 2);
}

TEST_F(MappedEdu, read_only_registers_are_put_right) {
  reg(0x00) = 1;
  reg(0x24) = 2;
  reg(0x20) = 0x7f;
  edu->poll();
  EXPECT_EQ(reg(0x00), 0x010000edu);
  EXPECT_EQ(reg(0x24), 0u);
  EXPECT_EQ(reg(0x20), 0u);
}

TEST_F(MappedEdu, dma_by_polling_is_exact) {
  for (u8 round = 1; round <= 3; ++round) {  // the same command again is seen: bit 0 was cleared
    fill(kA, 256, round);
    store_dma(kA, edu::kBuffer, 256, 1);
    EXPECT_TRUE(soon([&] { return (reg64(0x98) & 1) == 0; }));
    store_dma(edu::kBuffer, kB, 256, 3);
    EXPECT_TRUE(soon([&] { return (reg64(0x98) & 1) == 0; }));
    EXPECT_TRUE(std::ranges::equal(memory(kA, 256), memory(kB, 256)));
  }
}

TEST_F(MappedEdu, dma_by_interrupt) {
  fill(kA, 64, 1);
  store_dma(kA, edu::kBuffer, 64, 5);
  EXPECT_TRUE(soon([&] { return irq.sent == 1; }));
  EXPECT_EQ(reg(0x24), 0x100u);
  EXPECT_EQ(reg64(0x98), 4u);
}

TEST_F(MappedEdu, stores_to_dma_registers_while_busy_are_put_back) {
  dma.during = [this] {
    dma.during = [] {};
    reg64(0x80) = 0x5555;
    reg64(0x98) = 7;
    edu->poll();
  };
  store_dma(kA, edu::kBuffer, 64, 1);
  EXPECT_TRUE(soon([&] { return reg64(0x98) == 0u; }));
  EXPECT_EQ(reg64(0x80), kA);
  EXPECT_EQ(dma.transactions, 1);
}

TEST_F(MappedEdu, a_command_without_bit_0_is_put_back) {
  reg64(0x98) = 6;
  edu->poll();
  EXPECT_EQ(reg64(0x98), 0u);
}

TEST_F(MappedEdu, upper_words_count_only_for_wide_masks) {
  fill(kA, 16, 1);
  store_dma(kA | u64{0xdead} << 32, edu::kBuffer | u64{0xbeef} << 32, 16, 1);
  EXPECT_TRUE(soon([&] { return (reg64(0x98) & 1) == 0; }));
  EXPECT_TRUE(notes.empty());
  EXPECT_EQ(dma.transactions, 1);
}

TEST_F(MappedEdu, nothing_is_served_after_detach) {
  edu->detach_memory(0);
  reg(0x04) = 3;
  store_dma(kA, edu::kBuffer, 64, 1);
  edu->poll();
  EXPECT_EQ(reg(0x04), 3u);
  EXPECT_EQ(dma.transactions, 0);
}

TEST_F(MappedEdu, reset_shows_reset_values) {
  set(0x04, 1);
  set(0x60, 1);
  edu->reset();
  EXPECT_EQ(reg(0x04), 0u);
  EXPECT_EQ(reg(0x24), 0u);
}

TEST_F(MappedEdu, memory_may_go_while_a_client_stores) {
  std::atomic<bool> stop{false};
  std::jthread client([&] {
    for (u32 i = 0; !stop; ++i) {
      reg(0x04) = i;
      reg(0x60) = 1;
      reg64(0x98) = 1;
    }
  });
  for (int i = 0; i < 200; ++i) {
    edu->detach_memory(0);
    edu->reset();
    edu->attach_memory(0, bar.bytes());
    edu->poll();
  }
  stop = true;
}

}  // namespace
}  // namespace iommufd::models

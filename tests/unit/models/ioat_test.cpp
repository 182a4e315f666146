// SPDX-License-Identifier: BSD-3-Clause
// I/OAT as drivers use it, through calls and through mapped registers (spec ioat 2 to 8).
#include "models/ioat/ioat.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <numeric>
#include <thread>

#include "pci/peer_access.hpp"
#include "tests/support/fake_device.hpp"

namespace iommufd::models::ioat {
namespace {

constexpr u64 kRing = test::FakeDma::kBase, kStatus = kRing + 0x1000, kSource = kRing + 0x2000, kSink = kRing + 0x8000;
constexpr u64 kNowhere = u64{1} << 40;
constexpr u64 kUnset = 0x5555'5555'5555'5555;

// Trapped: mapped, and loads are of memory, but each store is an access (exact=1).
enum class Access : u8 { kCalls, kMapped, kTrapped };

// The registers as a driver reaches them, and its ring.
class IoatTest : public testing::TestWithParam<Access> {
 protected:
  void make(const Config& config) {
    device_.reset();
    device_ = std::make_unique<Ioat>(
        config, pci::ModelPorts{dma_, irq_, [this](std::string_view line) { notes_.emplace_back(line); }}, poller_);
    device_->reset();
    if (GetParam() != Access::kCalls) device_->attach_memory(0, std::as_writable_bytes(std::span(memory_)));
  }
  void SetUp() override { make({}); }
  void TearDown() override {
    if (GetParam() != Access::kCalls) device_->detach_memory(0);
  }

  template <class T>
  T get(u64 offset) {
    if (GetParam() == Access::kCalls) return static_cast<T>(device_->bar_read(0, offset, sizeof(T)));
    if (GetParam() == Access::kMapped) {
      (void)device_->poll();
      // The poller's thread may have had the turn: now somebody has looked.
      (void)device_->bar_read(0, kChannelCount, 1);
    }
    return std::atomic_ref<T>(at<T>(offset)).load(std::memory_order_acquire);
  }
  // In the mapped way the device sees it at its next look.
  template <class T>
  void set(u64 offset, T value) {
    if (GetParam() != Access::kMapped) return device_->bar_write(0, offset, sizeof(T), value);
    std::atomic_ref<T>(at<T>(offset)).store(value, std::memory_order_release);
  }
  template <class T>
  T& at(u64 offset) {
    return *reinterpret_cast<T*>(reinterpret_cast<std::byte*>(memory_.data()) + offset);
  }
  State state() { return static_cast<State>(get<u64>(kChanStatus) & 7); }
  bool wait_for(State wanted) {
    // A trapped client only loads: the poller's thread does what is left.
    for (const auto end = pci::Clock::now() + std::chrono::seconds(20); pci::Clock::now() < end;) {
      if (state() == wanted) return true;
      if (GetParam() == Access::kTrapped) std::this_thread::yield();
    }
    return false;
  }
  template <class T>
  T& ram(u64 address) {
    return *reinterpret_cast<T*>(dma_.memory.data() + (address - test::FakeDma::kBase));
  }
  Descriptor& slot(u64 i) { return ram<Descriptor>(kRing + i * sizeof(Descriptor)); }
  void link_ring(u64 slots) {
    for (u64 i = 0; i < slots; ++i) slot(i).next = kRing + (i + 1) % slots * sizeof(Descriptor);
  }
  void arm(u64 address = kRing, u16 control = 0) {
    set<u64>(kChanCompletion, kStatus);
    set<u64>(kChainAddr, address);
    set<u16>(kChanCtrl, control);
  }
  void reset_channel() {
    set<u8>(kChanCmd, kCmdReset);
    for (int i = 0; i < 1000 && get<u8>(kChanCmd) != 0; ++i) continue;
  }
  void fill_source(std::size_t n) { std::iota(&ram<u8>(kSource), &ram<u8>(kSource) + n, u8{1}); }

  test::FakeDma dma_;
  test::FakeInterrupts irq_;
  std::vector<std::string> notes_;
  Poller poller_;
  std::vector<u64> memory_ = std::vector<u64>(kBarSize / sizeof(u64));
  std::unique_ptr<Ioat> device_;
};
INSTANTIATE_TEST_SUITE_P(, IoatTest, testing::Values(Access::kCalls, Access::kMapped, Access::kTrapped),
                         [](const auto& p) {
                           return p.param == Access::kCalls    ? "calls"
                                  : p.param == Access::kMapped ? "mapped"
                                                               : "trapped";
                         });

TEST_P(IoatTest, constants) {
  EXPECT_EQ(get<u8>(kChannelCount), 1);
  EXPECT_EQ(get<u8>(kTransferCap), 20);
  EXPECT_EQ(get<u8>(kVersion), 0x33);
  EXPECT_EQ(get<u32>(kCapabilities), 0x41u);
  EXPECT_EQ(state(), State::kHalted);
}

TEST_P(IoatTest, copies_in_the_order_of_the_ring_and_says_which_was_last) {
  link_ring(4);
  fill_source(3000);
  slot(0) = {
      .size = 1000, .control = kDescCompletion, .source = kSource + 1, .destination = kSink + 3, .next = slot(0).next};
  slot(1) = {.size = 1999,
             .control = kDescCompletion,
             .source = kSource + 1001,
             .destination = kSink + 1003,
             .next = slot(1).next};
  arm();
  EXPECT_EQ(state(), State::kArmed);
  EXPECT_EQ(get<u64>(kChanStatus), 4u);
  set<u16>(kDmaCount, 2);
  ASSERT_TRUE(wait_for(State::kDone));
  EXPECT_EQ(std::memcmp(&ram<u8>(kSource + 1), &ram<u8>(kSink + 3), 2999), 0);
  EXPECT_EQ(ram<u8>(kSink + 2), 0);
  EXPECT_EQ(ram<u8>(kSink + 3002), 0);
  EXPECT_EQ(get<u64>(kChanStatus), kRing + 64 + 1);
  EXPECT_EQ(ram<u64>(kStatus), kRing + 64 + 1);
  // More of the same ring: the count goes on.
  slot(2) = {.size = 8, .control = kDescCompletion, .source = kSource, .destination = kSink, .next = slot(2).next};
  set<u16>(kDmaCount, 3);
  ASSERT_TRUE(wait_for(State::kDone));
  for (int i = 0; i < 10 && ram<u64>(kStatus) != kRing + 129; ++i) (void)get<u64>(kChanStatus);
  EXPECT_EQ(ram<u64>(kStatus), kRing + 128 + 1);
}

TEST_P(IoatTest, a_later_slot_is_looked_at_only_when_it_is_due) {
  slot(0) = {.size = 8, .source = kSource, .destination = kSink, .next = 0};
  fill_source(16);
  arm();
  set<u16>(kDmaCount, 1);
  ASSERT_TRUE(wait_for(State::kDone));
  slot(0).next = kRing + 192;
  slot(3) = {.size = 8, .source = kSource + 8, .destination = kSink + 8, .next = 0};
  set<u16>(kDmaCount, 2);
  for (int i = 0; i < 10; ++i) (void)state();
  EXPECT_EQ(get<u64>(kChanStatus), kRing + 192 + 1);
  EXPECT_EQ(ram<u64>(kSink + 8), ram<u64>(kSource + 8));
}

TEST_P(IoatTest, fills_repeat_from_the_destination_and_stop_at_the_last_byte) {
  for (const u32 size : {8u, 64u, 1024u, 50u, 100u, 89u}) {
    std::memset(&ram<u8>(kSink), 0, 2048);
    slot(0) = {.size = size,
               .control = kOpFill << kDescOpcodeShift | kDescCompletion,
               .source = 0xefcd'ab89'6745'2301,
               .destination = kSink + 5,
               .next = kRing};
    reset_channel();
    arm();
    set<u16>(kDmaCount, 1);
    ASSERT_TRUE(wait_for(State::kDone)) << size;
    for (u32 i = 0; i < size; ++i)
      ASSERT_EQ(ram<u8>(kSink + 5 + i), u8(0xefcd'ab89'6745'2301 >> i % 8 * 8)) << size << ' ' << i;
    EXPECT_EQ(ram<u8>(kSink + 5 + size), 0);
    EXPECT_EQ(ram<u8>(kSink + 4), 0);
  }
}

TEST_P(IoatTest, null_moves_nothing_and_interrupts) {
  irq_.messages = true;
  slot(0) = {.size = 1, .control = kDescNull | kDescInterrupt | kDescCompletion, .next = kRing};
  set<u8>(kIntrCtrl, kIntrMsix | kIntrMaster);
  arm(kRing, 0x1d);
  set<u16>(kDmaCount, 1);
  ASSERT_TRUE(wait_for(State::kDone));
  EXPECT_EQ(irq_.sent, 1);
}

TEST_P(IoatTest, one_descriptor_linked_to_itself_many_times) {
  slot(0) = {.size = 64, .source = kSource, .destination = kSink, .next = kRing};
  arm();
  set<u16>(kDmaCount, 65535);
  ASSERT_TRUE(wait_for(State::kDone));
  EXPECT_EQ(get<u64>(kChanStatus), kRing + 1);
  // The count wraps: two more are 65537.
  set<u16>(kDmaCount, 1);
  for (int i = 0; i < 100; ++i) (void)state();
  ASSERT_TRUE(wait_for(State::kDone));
}

TEST_P(IoatTest, suspend_starts_the_count_anew) {
  slot(0) = {.size = 8, .source = kSource, .destination = kSink, .next = kRing};
  for (int round = 0; round < 10; ++round) {
    fill_source(8);
    ram<u8>(kSource) = static_cast<u8>(round + 100);
    set<u64>(kChainAddr, kRing);
    set<u16>(kChanCtrl, 9);
    set<u16>(kDmaCount, 1);
    ASSERT_TRUE(wait_for(State::kDone)) << round;
    EXPECT_EQ(ram<u8>(kSink), round + 100);
    set<u8>(kChanCmd, kCmdSuspend);
    ASSERT_TRUE(wait_for(State::kSuspended)) << round;
    EXPECT_EQ(get<u8>(kChanCmd), 0);
    EXPECT_EQ(get<u16>(kDmaCount), 0);
  }
}

TEST_P(IoatTest, suspend_and_reset_write_nothing_back) {
  slot(0) = {.size = 8, .control = kDescCompletion, .source = kSource, .destination = kSink, .next = kRing};
  arm();
  set<u16>(kDmaCount, 1);
  ASSERT_TRUE(wait_for(State::kDone));
  ram<u64>(kStatus) = kUnset;
  set<u8>(kChanCmd, kCmdSuspend);
  ASSERT_TRUE(wait_for(State::kSuspended));
  reset_channel();
  arm();
  EXPECT_EQ(state(), State::kArmed);
  EXPECT_EQ(ram<u64>(kStatus), kUnset);
}

TEST_P(IoatTest, halted_after_reset_until_interrupts_are_set_up_or_time_has_passed) {
  reset_channel();
  EXPECT_EQ(state(), State::kHalted);
  device_->interrupts_set(pci::InterruptUse::kMessages);
  EXPECT_EQ(state(), State::kSuspended);
  reset_channel();
  EXPECT_EQ(state(), State::kHalted);
  set<u8>(kIntrCtrl, kIntrMsix);
  EXPECT_EQ(state(), State::kSuspended);
  reset_channel();
  const auto start = pci::Clock::now();
  ASSERT_TRUE([&] {
    while (pci::Clock::now() - start < std::chrono::seconds(10))
      if (state() == State::kSuspended) return true;
    return false;
  }());
  EXPECT_GE(pci::Clock::now() - start, std::chrono::milliseconds(99));
}

TEST_P(IoatTest, recovery_back_to_back) {
  slot(0) = {.size = 8, .control = kDescCompletion, .source = kSource, .destination = kSink, .next = kRing};
  arm();
  set<u16>(kDmaCount, 1);
  ASSERT_TRUE(wait_for(State::kDone));
  set<u8>(kChanCmd, kCmdReset);
  set<u64>(kChainAddr, kRing);
  set<u16>(kChanCtrl, 0x0c);
  set<u64>(kChanCompletion, kStatus + 8);
  EXPECT_EQ(get<u64>(kChanStatus), 4u);
  set<u16>(kDmaCount, 1);
  ASSERT_TRUE(wait_for(State::kDone));
  EXPECT_EQ(ram<u64>(kStatus + 8), kRing + 1);
}

TEST_P(IoatTest, an_address_written_as_two_halves) {
  slot(0) = {.size = 8, .source = kSource, .destination = kSink, .next = kRing};
  set<u32>(kChainAddr, static_cast<u32>(kRing));
  if (GetParam() == Access::kMapped) {
    EXPECT_EQ(state(), State::kHalted);
  }
  set<u32>(kChainAddr + 4, 0);
  EXPECT_EQ(state(), State::kArmed);
}

TEST_P(IoatTest, address_zero_is_nothing) {
  set<u64>(kChainAddr, 0);
  EXPECT_EQ(state(), State::kHalted);
  EXPECT_EQ(notes_.size(), 0u);
}

TEST_P(IoatTest, faults_of_the_data_are_ignored_by_default) {
  slot(0) = {.size = 8, .source = kNowhere, .destination = kSink, .next = kRing + 64};
  slot(1) = {.size = 8, .source = kSource, .destination = kNowhere, .next = kRing};
  arm();
  set<u16>(kDmaCount, 2);
  ASSERT_TRUE(wait_for(State::kDone));
  EXPECT_EQ(get<u32>(kChanErr), 0u);
}

struct Failure {
  Descriptor descriptor;
  u32 errors;
};

TEST_P(IoatTest, what_halts_the_channel) {
  make({.on_fault = OnFault::kHalt});
  set<u8>(kIntrCtrl, kIntrMsix);
  const Failure failures[] = {
      {{.size = 0, .source = kSource, .destination = kSink}, kErrLength | kErrControl},
      {{.size = (1 << 20) + 1, .source = kSource, .destination = kSink}, kErrLength | kErrControl},
      {{.size = 8, .control = u32{0x87} << kDescOpcodeShift, .source = kSource, .destination = kSink}, kErrControl},
      {{.size = 8, .source = kNowhere, .destination = kSink}, kErrSource},
      {{.size = 8, .source = kSource, .destination = kNowhere}, kErrDestination},
      {{.size = 8, .control = kOpFill << kDescOpcodeShift, .destination = kNowhere}, kErrDestination},
  };
  for (const Failure& failure : failures) {
    SCOPED_TRACE(failure.errors);
    const int sent = irq_.sent;
    reset_channel();
    slot(0) = {.size = 8, .source = kSource, .destination = kSink, .next = kRing + 64};
    slot(1) = failure.descriptor;
    arm(kRing, kCtrlRearm | kCtrlErrorCompletion | kCtrlErrorAbort | kCtrlErrorInterrupt);
    set<u16>(kDmaCount, 2);
    ASSERT_TRUE(wait_for(State::kHalted));
    EXPECT_EQ(get<u32>(kChanErr), failure.errors);
    EXPECT_EQ(get<u64>(kChanStatus), kRing + 3);  // the last good one
    EXPECT_EQ(ram<u64>(kStatus), kRing + 3);
    EXPECT_EQ(irq_.sent, sent + 1);
    // It stays so, whatever is written but a reset.
    set<u64>(kChainAddr, kRing);
    set<u16>(kDmaCount, 5);
    device_->interrupts_set(pci::InterruptUse::kMessages);
    EXPECT_EQ(state(), State::kHalted);
  }
}

TEST_P(IoatTest, bad_addresses_of_descriptors_and_completions) {
  arm(kRing + 8);
  ASSERT_TRUE(wait_for(State::kHalted));
  EXPECT_EQ(get<u32>(kChanErr), kErrChainAddr);
  reset_channel();
  EXPECT_EQ(get<u32>(kChanErr), 0u);
  slot(0) = {.size = 8, .source = kSource, .destination = kSink, .next = kRing + 72};
  arm();
  set<u16>(kDmaCount, 2);
  ASSERT_TRUE(wait_for(State::kHalted));
  EXPECT_EQ(get<u32>(kChanErr), kErrAlignment);
  reset_channel();
  arm(kNowhere);
  set<u16>(kDmaCount, 1);
  ASSERT_TRUE(wait_for(State::kHalted));
  EXPECT_EQ(get<u32>(kChanErr), kErrNext);
  reset_channel();
  slot(0) = {.size = 8, .control = kDescCompletion, .source = kSource, .destination = kSink, .next = kRing};
  set<u64>(kChanCompletion, kStatus + 4);
  set<u64>(kChainAddr, kRing);
  set<u16>(kDmaCount, 1);
  ASSERT_TRUE(wait_for(State::kHalted));
  EXPECT_EQ(get<u32>(kChanErr), kErrCompletion);
}

TEST_P(IoatTest, an_interrupt_waits_for_its_rearming) {
  slot(0) = {.size = 8, .control = kDescInterrupt, .source = kSource, .destination = kSink, .next = kRing};
  set<u8>(kIntrCtrl, kIntrMsix);
  arm(kRing, 0);
  set<u16>(kDmaCount, 1);
  ASSERT_TRUE(wait_for(State::kDone));
  EXPECT_EQ(irq_.sent, 1);
  set<u16>(kDmaCount, 3);
  for (int i = 0; i < 10; ++i) (void)state();
  EXPECT_EQ(irq_.sent, 1);
  set<u16>(kChanCtrl, kCtrlRearm);
  (void)state();
  EXPECT_EQ(irq_.sent, 2);
  EXPECT_EQ(get<u16>(kChanCtrl), 0);
}

TEST_P(IoatTest, the_line_stays_up_until_the_rearming) {
  irq_.messages = false;
  slot(0) = {.size = 8, .control = kDescInterrupt, .source = kSource, .destination = kSink, .next = kRing};
  set<u8>(kIntrCtrl, kIntrMaster);
  arm(kRing, 0);
  set<u16>(kDmaCount, 1);
  ASSERT_TRUE(wait_for(State::kDone));
  EXPECT_EQ(irq_.level, pci::Level::kHigh);
  EXPECT_EQ(get<u8>(kIntrCtrl), kIntrMaster | kIntrStatus | kIntrPending);
  EXPECT_EQ(get<u32>(kAttnStatus), 1u);
  set<u16>(kChanCtrl, kCtrlRearm);
  (void)state();
  EXPECT_EQ(irq_.level, pci::Level::kLow);
  EXPECT_EQ(get<u8>(kIntrCtrl), kIntrMaster);
}

TEST_P(IoatTest, a_function_reset_waits_for_the_descriptor_that_runs) {
  slot(0) = {.size = 8, .source = kSource, .destination = kSink, .next = kRing};
  std::atomic<int> inside{0}, reset_done{0};
  dma_.during = [&] {
    if (inside.exchange(1) != 0) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(reset_done, 0);
  };
  arm();
  set<u16>(kDmaCount, 1);
  std::thread runner([&] { (void)state(); });
  while (inside == 0) std::this_thread::yield();
  device_->reset();
  reset_done = 1;
  runner.join();
  dma_.during = [] {};
  EXPECT_EQ(state(), State::kHalted);
  EXPECT_EQ(get<u16>(kDmaCount), 0);
}

// A BAR can be the target of DMA, its own device's too: that must not wait for the transfer that it is part of.
TEST_P(IoatTest, its_own_registers_as_target_do_not_answer) {
  slot(0) = {.size = 8, .source = kSource, .destination = kSink, .next = kRing};
  int seen = 0;
  dma_.during = [&] {
    const pci::PeerAccess peer;
    seen += device_->bar_read(0, kChanStatus, 8) == ~u64{0} ? 1 : 0;
    device_->bar_write(0, kChanCmd, 1, kCmdReset);
  };
  arm();
  set<u16>(kDmaCount, 1);
  ASSERT_TRUE(wait_for(State::kDone));
  EXPECT_GT(seen, 0);
  dma_.during = [] {};
}

// Two devices whose transfers go into each other's registers wait for each other, but not for ever.
TEST_P(IoatTest, an_access_of_another_device_waits_a_moment_only) {
  slot(0) = {.size = 8, .source = kSource, .destination = kSink, .next = kRing};
  std::atomic<int> inside{0};
  std::atomic<bool> answered{false};
  dma_.during = [&] {
    inside = 1;
    while (!answered) std::this_thread::yield();
  };
  arm();
  std::thread runner([&] {
    set<u16>(kDmaCount, 1);
    (void)state();
  });
  while (inside == 0) std::this_thread::yield();
  {
    const pci::PeerAccess peer;
    EXPECT_EQ(device_->bar_read(0, kVersion, 1), ~u64{0});
  }
  answered = true;
  runner.join();
  dma_.during = [] {};
  const pci::PeerAccess peer;
  EXPECT_EQ(device_->bar_read(0, kVersion, 1) & 0xff, 0x33u);  // nobody has the turn: it answers
}

TEST_P(IoatTest, registers_that_nobody_has) {
  EXPECT_EQ(device_->bar_read(0, 0x2000, 4), 0u);
  device_->bar_write(0, 0x2000, 4, 1);
  set<u8>(kVersion, 0x11);
  (void)state();
  EXPECT_EQ(get<u8>(kVersion), GetParam() == Access::kMapped ? 0x11 : 0x33);  // memory takes what is stored
}

}  // namespace
}  // namespace iommufd::models::ioat

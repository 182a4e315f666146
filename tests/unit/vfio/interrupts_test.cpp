// SPDX-License-Identifier: BSD-3-Clause
// Every row of SET_IRQS (spec vfio-device 13), with real eventfds.
#include "vfio/interrupts.hpp"

#include "tests/unit/vfio/vfio_fixture.hpp"

namespace iommufd::vfio {
namespace {

using pci::Level;

constexpr u16 kMemory = 2, kMaster = 4, kIntxOff = 0x400;

class InterruptsTest : public testing::Test {
 protected:
  void SetUp() override {
    sample.function.connect(interrupts);
    sample.function.enable();
    sample.set_command(kMemory | kMaster);
  }
  void TearDown() override { interrupts.teardown(); }

  // 0 or the errno.
  int set(IrqRequest request) {
    const Result<u32> r = interrupts.set(std::move(request));
    return r ? 0 : static_cast<int>(r.error());
  }
  static IrqRequest none(IrqIndex index, IrqAction action, u32 start, u32 count) {
    return {.index = index, .action = action, .data = IrqData::kNone, .start = start, .count = count};
  }
  static IrqRequest bools(IrqIndex index, IrqAction action, u32 start, std::vector<u8> values) {
    const u32 count = static_cast<u32>(values.size());
    return {.index = index,
            .action = action,
            .data = IrqData::kBool,
            .start = start,
            .count = count,
            .bools = std::move(values)};
  }
  template <class... E>
  static IrqRequest events(IrqIndex index, IrqAction action, u32 start, E... elements) {
    IrqRequest r{.index = index,
                 .action = action,
                 .data = IrqData::kEventfd,
                 .start = start,
                 .count = static_cast<u32>(sizeof...(E))};
    (r.eventfds.push_back(std::move(elements)), ...);
    return r;
  }
  int enable_intx() { return set(events(IrqIndex::kIntx, IrqAction::kTrigger, 0, event.element())); }
  int disable(IrqIndex index) { return set(none(index, IrqAction::kTrigger, 0, 0)); }
  int unmask() { return set(none(IrqIndex::kIntx, IrqAction::kUnmask, 0, 1)); }
  int mask() { return set(none(IrqIndex::kIntx, IrqAction::kMask, 0, 1)); }
  void line(Level level) { sample.model->ports.interrupts.set_line(level); }
  void message(u32 vector) { sample.model->ports.interrupts.send_message(vector); }

  SampleFunction sample;
  EventWatcher watcher;
  Interrupts interrupts{sample.function, watcher};
  ClientEvent event, second, third;
};

TEST_F(InterruptsTest, the_model_hears_of_what_was_set_before_the_call_returns) {
  EXPECT_EQ(set(events(IrqIndex::kMsi, IrqAction::kTrigger, 0, event.element())), 0);
  EXPECT_EQ(sample.model->interrupt_changes, 1);
  EXPECT_EQ(sample.model->interrupt_use, pci::InterruptUse::kMessages);
  EXPECT_NE(set(none(IrqIndex::kMsi, IrqAction::kMask, 0, 1)), 0);
  EXPECT_EQ(sample.model->interrupt_changes, 1);
  EXPECT_EQ(disable(IrqIndex::kMsi), 0);
  EXPECT_EQ(sample.model->interrupt_changes, 2);
  EXPECT_EQ(sample.model->interrupt_use, pci::InterruptUse::kNone);
  EXPECT_EQ(enable_intx(), 0);
  EXPECT_EQ(sample.model->interrupt_use, pci::InterruptUse::kIntx);
}

// As the kernel's allocator does: how many there are, and nothing is enabled (vfio-device 13).
TEST_F(InterruptsTest, fewer_vectors_than_asked_for_are_said) {
  sample.model->vectors = 1;
  const auto two = [&] { return events(IrqIndex::kMsi, IrqAction::kTrigger, 0, event.element(), second.element()); };
  EXPECT_EQ(interrupts.set(two()).value_or(99), 1u);
  EXPECT_FALSE(sample.model->ports.interrupts.message_signalled());
  EXPECT_EQ(interrupts.messages().vectors, 0u);
  EXPECT_EQ(enable_intx(), 0);  // nothing else is
  EXPECT_EQ(disable(IrqIndex::kIntx), 0);
  EXPECT_EQ(set(events(IrqIndex::kMsi, IrqAction::kTrigger, 0, event.element())), 0);
  EXPECT_EQ(sample.model->messages, pci::MessageKind::kMsi);
  EXPECT_EQ(disable(IrqIndex::kMsi), 0);
  EXPECT_FALSE(sample.model->messages);
  sample.model->vectors = 2;
  EXPECT_EQ(interrupts.set(two()).value_or(99), 0u);
}

TEST_F(InterruptsTest, info_of_each_index) {
  const IrqInfo intx = interrupts.info(IrqIndex::kIntx);
  EXPECT_EQ(intx.count, 1u);
  EXPECT_TRUE(intx.maskable && intx.automasked && intx.resizable);
  const IrqInfo msi = interrupts.info(IrqIndex::kMsi);
  EXPECT_EQ(msi.count, 4u);
  EXPECT_FALSE(msi.maskable || msi.automasked || msi.resizable);
  EXPECT_EQ(interrupts.info(IrqIndex::kMsix).count, 0u);
  EXPECT_EQ(interrupts.info(IrqIndex::kErr).count, 0u);
  EXPECT_EQ(interrupts.info(IrqIndex::kReq).count, 1u);
}

TEST_F(InterruptsTest, several_or_no_actions_have_no_handler) {
  for (const IrqIndex index : {IrqIndex::kIntx, IrqIndex::kMsi, IrqIndex::kReq}) {
    EXPECT_EQ(set(none(index, IrqAction::kOther, 0, 1)), ENOTTY);
  }
  for (const IrqAction action : {IrqAction::kMask, IrqAction::kUnmask}) {
    EXPECT_EQ(set(none(IrqIndex::kMsi, action, 0, 1)), ENOTTY);
    EXPECT_EQ(set(none(IrqIndex::kReq, action, 0, 1)), ENOTTY);
  }
}

// --- INTx ---

TEST_F(InterruptsTest, intx_masks_itself_when_delivered_and_comes_again_on_unmask) {
  ASSERT_EQ(enable_intx(), 0);
  line(Level::kHigh);
  EXPECT_EQ(event.take(), 1u);
  line(Level::kLow);
  line(Level::kHigh);
  EXPECT_EQ(event.take(), 0u);  // masked
  EXPECT_EQ(unmask(), 0);
  EXPECT_EQ(event.take(), 1u);  // still high
  line(Level::kLow);
  EXPECT_EQ(unmask(), 0);
  EXPECT_EQ(event.take(), 0u);
  line(Level::kHigh);
  EXPECT_EQ(event.take(), 1u);
}

TEST_F(InterruptsTest, intx_that_is_high_when_enabled_is_delivered_at_once) {
  line(Level::kHigh);
  ASSERT_EQ(enable_intx(), 0);
  EXPECT_EQ(event.take(), 1u);
}

TEST_F(InterruptsTest, intx_mask_holds_back) {
  ASSERT_EQ(enable_intx(), 0);
  EXPECT_EQ(mask(), 0);
  line(Level::kHigh);
  EXPECT_EQ(event.take(), 0u);
  EXPECT_EQ(set(bools(IrqIndex::kIntx, IrqAction::kUnmask, 0, {0})), 0);
  EXPECT_EQ(event.take(), 0u);
  EXPECT_EQ(set(bools(IrqIndex::kIntx, IrqAction::kUnmask, 0, {1})), 0);
  EXPECT_EQ(event.take(), 1u);
  line(Level::kLow);
  EXPECT_EQ(unmask(), 0);
  EXPECT_EQ(set(bools(IrqIndex::kIntx, IrqAction::kMask, 0, {0})), 0);
  line(Level::kHigh);
  EXPECT_EQ(event.take(), 1u);
}

TEST_F(InterruptsTest, intx_mask_by_eventfd_does_not_exist) {
  ASSERT_EQ(enable_intx(), 0);
  EXPECT_EQ(set(events(IrqIndex::kIntx, IrqAction::kMask, 0, event.element())), ENOTTY);
}

TEST_F(InterruptsTest, intx_mask_and_unmask_need_it_enabled) {
  EXPECT_EQ(mask(), EINVAL);
  EXPECT_EQ(unmask(), EINVAL);
  EXPECT_EQ(set(events(IrqIndex::kIntx, IrqAction::kMask, 0, event.element())), EINVAL);  // before ENOTTY
  ASSERT_EQ(enable_intx(), 0);
  EXPECT_EQ(set(none(IrqIndex::kIntx, IrqAction::kMask, 0, 0)), EINVAL);
  EXPECT_EQ(set(none(IrqIndex::kIntx, IrqAction::kUnmask, 0, 0)), EINVAL);
}

TEST_F(InterruptsTest, intx_unmask_by_eventfd) {
  ASSERT_EQ(enable_intx(), 0);
  line(Level::kHigh);
  EXPECT_EQ(event.take(), 1u);
  EXPECT_EQ(set(events(IrqIndex::kIntx, IrqAction::kUnmask, 0, second.element())), 0);
  EXPECT_EQ(set(events(IrqIndex::kIntx, IrqAction::kUnmask, 0, third.element())), EBUSY);
  EXPECT_EQ(set(events(IrqIndex::kIntx, IrqAction::kUnmask, 0, no_eventfd(99))), EBADF);  // before EBUSY
  second.add(1);
  u64 delivered = 0;
  EXPECT_TRUE(soon([&] { return (delivered += event.take()) == 1; }));
  EXPECT_EQ(set(events(IrqIndex::kIntx, IrqAction::kUnmask, 0, no_eventfd())), 0);
  EXPECT_EQ(set(events(IrqIndex::kIntx, IrqAction::kUnmask, 0, no_eventfd())), 0);
  second.add(1);
  EXPECT_EQ(set(events(IrqIndex::kIntx, IrqAction::kUnmask, 0, third.element())), 0);
  EXPECT_EQ(event.take(), 0u);
  third.add(1);
  EXPECT_TRUE(soon([&] { return event.take() == 1; }));
}

TEST_F(InterruptsTest, intx_loopback) {
  EXPECT_EQ(set(none(IrqIndex::kIntx, IrqAction::kTrigger, 0, 1)), EINVAL);  // not enabled
  EXPECT_EQ(set(bools(IrqIndex::kIntx, IrqAction::kTrigger, 0, {1})), EINVAL);
  ASSERT_EQ(enable_intx(), 0);
  EXPECT_EQ(set(none(IrqIndex::kIntx, IrqAction::kTrigger, 0, 1)), 0);
  EXPECT_EQ(set(bools(IrqIndex::kIntx, IrqAction::kTrigger, 0, {0})), 0);
  EXPECT_EQ(set(bools(IrqIndex::kIntx, IrqAction::kTrigger, 0, {1})), 0);
  EXPECT_EQ(event.take(), 2u);
}

TEST_F(InterruptsTest, intx_eventfd_is_swapped_or_dropped) {
  ASSERT_EQ(enable_intx(), 0);
  EXPECT_EQ(set(events(IrqIndex::kIntx, IrqAction::kTrigger, 0, second.element())), 0);
  line(Level::kHigh);
  EXPECT_EQ(event.take(), 0u);
  EXPECT_EQ(second.take(), 1u);
  EXPECT_EQ(set(events(IrqIndex::kIntx, IrqAction::kTrigger, 0, no_eventfd())), 0);
  EXPECT_EQ(unmask(), 0);
  EXPECT_EQ(second.take(), 0u);
  EXPECT_EQ(set(events(IrqIndex::kIntx, IrqAction::kTrigger, 0, no_eventfd(77))), EBADF);
}

TEST_F(InterruptsTest, intx_can_be_enabled_without_an_eventfd) {
  EXPECT_EQ(set(events(IrqIndex::kIntx, IrqAction::kTrigger, 0, no_eventfd())), 0);
  EXPECT_EQ(mask(), 0);
}

TEST_F(InterruptsTest, intx_disable_only_when_enabled) {
  EXPECT_EQ(disable(IrqIndex::kIntx), EINVAL);
  ASSERT_EQ(enable_intx(), 0);
  EXPECT_EQ(set(bools(IrqIndex::kIntx, IrqAction::kTrigger, 0, {})), EINVAL);
  EXPECT_EQ(set(events(IrqIndex::kIntx, IrqAction::kTrigger, 0)), EINVAL);
  EXPECT_EQ(disable(IrqIndex::kIntx), 0);
  line(Level::kHigh);
  EXPECT_EQ(event.take(), 0u);
  EXPECT_EQ(disable(IrqIndex::kIntx), EINVAL);
}

TEST_F(InterruptsTest, intx_disable_in_the_command_register_masks) {
  ASSERT_EQ(enable_intx(), 0);
  sample.set_command(kMemory | kIntxOff);
  line(Level::kHigh);
  EXPECT_EQ(event.take(), 0u);
  EXPECT_EQ(unmask(), 0);  // has no effect meanwhile
  EXPECT_EQ(event.take(), 0u);
  EXPECT_EQ(set(none(IrqIndex::kIntx, IrqAction::kTrigger, 0, 1)), 0);  // nor has the loop-back
  EXPECT_EQ(event.take(), 0u);
  sample.set_command(kMemory);
  EXPECT_EQ(event.take(), 1u);
}

TEST_F(InterruptsTest, intx_starts_masked_when_disabled_in_the_command_register) {
  sample.set_command(kMemory | kIntxOff);
  line(Level::kHigh);
  ASSERT_EQ(enable_intx(), 0);
  EXPECT_EQ(event.take(), 0u);
  sample.set_command(kMemory);
  EXPECT_EQ(event.take(), 1u);
}

TEST(InterruptsOfAnUnconnectedLine, enable_is_enodev) {
  SampleFunction sample(sample_spec(), 0);
  EventWatcher watcher;
  Interrupts interrupts(sample.function, watcher);
  const ClientEvent event;
  IrqRequest r{
      .index = IrqIndex::kIntx, .action = IrqAction::kTrigger, .data = IrqData::kEventfd, .start = 0, .count = 1};
  r.eventfds.push_back(event.element());
  EXPECT_EQ(interrupts.set(std::move(r)).error(), Errno::kNoDev);
}

// --- MSI ---

TEST_F(InterruptsTest, msi_signals_the_vector_s_eventfd) {
  ASSERT_EQ(set(events(IrqIndex::kMsi, IrqAction::kTrigger, 0, event.element(), second.element())), 0);
  message(0);
  message(1);
  message(1);
  EXPECT_EQ(event.take(), 1u);
  EXPECT_EQ(second.take(), 2u);
}

TEST_F(InterruptsTest, msi_reaches_nobody_with_bus_mastering_off) {
  ASSERT_EQ(set(events(IrqIndex::kMsi, IrqAction::kTrigger, 0, event.element())), 0);
  sample.set_command(kMemory);
  message(0);
  EXPECT_EQ(event.take(), 0u);
}

TEST_F(InterruptsTest, msi_loopback_skips_vectors_without_an_eventfd) {
  EXPECT_EQ(set(none(IrqIndex::kMsi, IrqAction::kTrigger, 0, 1)), EINVAL);  // not enabled
  EXPECT_EQ(disable(IrqIndex::kMsi), EINVAL);
  ASSERT_EQ(set(events(IrqIndex::kMsi, IrqAction::kTrigger, 0, event.element(), no_eventfd(), second.element())), 0);
  EXPECT_EQ(set(none(IrqIndex::kMsi, IrqAction::kTrigger, 0, 4)), 0);
  EXPECT_EQ(set(bools(IrqIndex::kMsi, IrqAction::kTrigger, 0, {1, 1, 0, 1})), 0);
  EXPECT_EQ(event.take(), 2u);
  EXPECT_EQ(second.take(), 1u);
  EXPECT_EQ(set(bools(IrqIndex::kMsi, IrqAction::kTrigger, 0, {})), 0);
}

TEST_F(InterruptsTest, msi_vectors_are_replaced_and_removed) {
  ASSERT_EQ(set(events(IrqIndex::kMsi, IrqAction::kTrigger, 0, event.element(), event.element())), 0);
  EXPECT_EQ(set(events(IrqIndex::kMsi, IrqAction::kTrigger, 1, second.element())), 0);
  EXPECT_EQ(set(events(IrqIndex::kMsi, IrqAction::kTrigger, 0, no_eventfd(-7))), 0);
  message(0);
  message(1);
  EXPECT_EQ(event.take(), 0u);
  EXPECT_EQ(second.take(), 1u);
}

TEST_F(InterruptsTest, msi_does_not_grow) {
  ASSERT_EQ(set(events(IrqIndex::kMsi, IrqAction::kTrigger, 0, event.element())), 0);
  EXPECT_EQ(set(events(IrqIndex::kMsi, IrqAction::kTrigger, 1, second.element())), EINVAL);
  EXPECT_EQ(set(events(IrqIndex::kMsi, IrqAction::kTrigger, 1, no_eventfd())), 0);  // removing nothing
  message(0);
  EXPECT_EQ(event.take(), 1u);
  EXPECT_EQ(disable(IrqIndex::kMsi), 0);
  EXPECT_EQ(set(events(IrqIndex::kMsi, IrqAction::kTrigger, 0, event.element(), second.element())), 0);
}

TEST_F(InterruptsTest, msi_first_enable_may_start_above_0) {
  ASSERT_EQ(set(events(IrqIndex::kMsi, IrqAction::kTrigger, 1, event.element())), 0);
  message(1);
  EXPECT_EQ(event.take(), 1u);
  EXPECT_EQ(set(events(IrqIndex::kMsi, IrqAction::kTrigger, 0, second.element())), 0);
}

TEST_F(InterruptsTest, msi_error_in_the_middle_undoes_a_fresh_enable) {
  EXPECT_EQ(set(events(IrqIndex::kMsi, IrqAction::kTrigger, 0, event.element(), no_eventfd(55))), EBADF);
  EXPECT_FALSE(sample.model->ports.interrupts.message_signalled());
  EXPECT_EQ(enable_intx(), 0);  // nothing is active
}

TEST_F(InterruptsTest, msi_error_in_the_middle_clears_the_touched_vectors) {
  ASSERT_EQ(set(events(IrqIndex::kMsi, IrqAction::kTrigger, 0, event.element(), event.element(), event.element())), 0);
  EXPECT_EQ(set(events(IrqIndex::kMsi, IrqAction::kTrigger, 0, second.element(), no_eventfd(55))), EBADF);
  message(0);
  message(1);
  EXPECT_EQ(event.take() + second.take(), 0u);
  message(2);
  EXPECT_EQ(event.take(), 1u);  // untouched
}

TEST_F(InterruptsTest, msi_enable_of_no_vector_is_erange) {
  EXPECT_EQ(set(events(IrqIndex::kMsi, IrqAction::kTrigger, 0)), ERANGE);
}

TEST_F(InterruptsTest, only_one_kind_is_active) {
  ASSERT_EQ(enable_intx(), 0);
  EXPECT_EQ(set(events(IrqIndex::kMsi, IrqAction::kTrigger, 0, event.element())), EINVAL);
  EXPECT_EQ(disable(IrqIndex::kMsi), EINVAL);
  ASSERT_EQ(disable(IrqIndex::kIntx), 0);
  ASSERT_EQ(set(events(IrqIndex::kMsi, IrqAction::kTrigger, 0, event.element())), 0);
  EXPECT_EQ(enable_intx(), EINVAL);
  EXPECT_EQ(disable(IrqIndex::kIntx), EINVAL);
  EXPECT_EQ(mask(), EINVAL);
  EXPECT_EQ(disable(IrqIndex::kMsi), 0);
  EXPECT_FALSE(sample.model->ports.interrupts.message_signalled());
}

// --- REQ ---

TEST_F(InterruptsTest, req_is_armed_and_disarmed) {
  const auto req = IrqIndex::kReq;
  EXPECT_EQ(set(none(req, IrqAction::kTrigger, 0, 1)), EINVAL);  // not armed
  EXPECT_EQ(disable(req), EINVAL);
  EXPECT_EQ(set(bools(req, IrqAction::kTrigger, 0, {1})), 0);
  EXPECT_EQ(set(bools(req, IrqAction::kTrigger, 0, {})), EINVAL);
  EXPECT_EQ(set(events(req, IrqAction::kTrigger, 0)), EINVAL);
  EXPECT_EQ(set(events(req, IrqAction::kTrigger, 0, no_eventfd(-2))), EINVAL);
  EXPECT_EQ(set(events(req, IrqAction::kTrigger, 0, no_eventfd(9))), EBADF);
  ASSERT_EQ(set(events(req, IrqAction::kTrigger, 0, event.element())), 0);
  EXPECT_EQ(set(none(req, IrqAction::kTrigger, 0, 1)), 0);
  EXPECT_EQ(set(bools(req, IrqAction::kTrigger, 0, {0})), 0);
  EXPECT_EQ(set(bools(req, IrqAction::kTrigger, 0, {1})), 0);
  EXPECT_EQ(event.take(), 2u);
  EXPECT_EQ(set(events(req, IrqAction::kTrigger, 0, no_eventfd(-1))), 0);
  EXPECT_EQ(disable(req), EINVAL);
  ASSERT_EQ(set(events(req, IrqAction::kTrigger, 0, event.element())), 0);
  EXPECT_EQ(disable(req), 0);
  EXPECT_EQ(disable(req), EINVAL);
}

TEST_F(InterruptsTest, req_is_independent_of_the_others) {
  ASSERT_EQ(set(events(IrqIndex::kReq, IrqAction::kTrigger, 0, second.element())), 0);
  ASSERT_EQ(enable_intx(), 0);
  EXPECT_EQ(set(none(IrqIndex::kReq, IrqAction::kTrigger, 0, 1)), 0);
  EXPECT_EQ(second.take(), 1u);
}

TEST_F(InterruptsTest, teardown_ends_everything) {
  ASSERT_EQ(set(events(IrqIndex::kReq, IrqAction::kTrigger, 0, second.element())), 0);
  ASSERT_EQ(set(events(IrqIndex::kMsi, IrqAction::kTrigger, 0, event.element())), 0);
  sample.set_command(kMemory | kMaster | kIntxOff);
  interrupts.teardown();
  message(0);
  EXPECT_EQ(event.take(), 0u);
  EXPECT_EQ(set(none(IrqIndex::kReq, IrqAction::kTrigger, 0, 1)), EINVAL);
  interrupts.teardown();
  line(Level::kHigh);
  ASSERT_EQ(enable_intx(), 0);  // INTx Disable was forgotten, too
  EXPECT_EQ(event.take(), 1u);
}

TEST_F(InterruptsTest, deliveries_race_with_changes) {
  std::atomic<bool> stop{false};
  std::jthread device([&] {
    while (!stop) {
      line(Level::kHigh);
      message(0);
      line(Level::kLow);
    }
  });
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(enable_intx(), 0);
    EXPECT_EQ(set(events(IrqIndex::kIntx, IrqAction::kUnmask, 0, second.element())), 0);
    second.add(1);
    EXPECT_EQ(unmask(), 0);
    sample.set_command(kMemory | kMaster | kIntxOff);
    sample.set_command(kMemory | kMaster);
    EXPECT_EQ(disable(IrqIndex::kIntx), 0);
    EXPECT_EQ(set(events(IrqIndex::kMsi, IrqAction::kTrigger, 0, event.element())), 0);
    EXPECT_EQ(disable(IrqIndex::kMsi), 0);
  }
  stop = true;
}

}  // namespace
}  // namespace iommufd::vfio

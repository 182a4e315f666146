// SPDX-License-Identifier: BSD-3-Clause
// Registers, states and doorbells of the controller (spec nvme 2, 3 and 8), trapped and mapped.
#include <thread>

#include "pci/peer_access.hpp"
#include "tests/unit/models/nvme_fixture.hpp"

namespace iommufd::models::nvme {
namespace {

using testing::Contains;
using testing::HasSubstr;

enum class Way { kTrapped, kMapped };
class NvmeRegisters : public NvmeTest, public testing::WithParamInterface<Way> {
 protected:
  void SetUp() override {
    make();
    if (GetParam() == Way::kMapped) map_bar();
  }
  // Whatever was stored before has been seen: mapped doorbells are words of memory, and poll() does nothing while the poller serves.
  void settle() {
    Sqe sqe = command(AdminOpcode::kGetFeatures);
    sqe.cdw10 = 7;
    EXPECT_EQ(admin_status(sqe), 0);
  }
};
INSTANTIATE_TEST_SUITE_P(Way, NvmeRegisters, testing::Values(Way::kTrapped, Way::kMapped),
                         [](const auto& info) { return info.param == Way::kMapped ? "mapped" : "trapped"; });

TEST_P(NvmeRegisters, have_their_reset_values) {
  EXPECT_EQ(get64(reg::kCap), 0x004000200f0107ffu);
  EXPECT_EQ(get(reg::kVersion), 0x00010400u);
  for (const u64 offset : {0x0cu, 0x10u, 0x14u, 0x18u, 0x1cu, 0x20u, 0x24u, 0x28u,  0x2cu,   0x30u,
                           0x34u, 0x38u, 0x3cu, 0x40u, 0x50u, 0x58u, 0x68u, 0xe00u, 0x1000u, 0x1004u})
    EXPECT_EQ(get(offset), 0u) << offset;
  EXPECT_EQ(controller->bar_read(0, 0x08, 1), 0u);
  EXPECT_EQ(controller->bar_read(0, 0x0a, 2), 1u);
}

TEST_P(NvmeRegisters, constants_cannot_be_changed) {
  set(reg::kCap, 5);
  set(reg::kVersion, 5);
  set(reg::kCsts, 5);
  set(reg::kNssr, 0x4e564d65);
  controller->poll();
  EXPECT_EQ(get64(reg::kCap), kCapValue);
  EXPECT_EQ(get(reg::kVersion), kVersionValue);
  EXPECT_EQ(get(reg::kCsts), 0u);
  EXPECT_EQ(get(reg::kNssr), 0u);
  if (mapped()) {
    EXPECT_EQ(cell(reg::kCap), static_cast<u32>(kCapValue));
    EXPECT_EQ(cell(reg::kCsts), 0u);
  }
}

TEST_P(NvmeRegisters, halves_of_addresses_come_in_any_order) {
  set(reg::kAsq + 4, 0x12);
  set(reg::kAsq, 0x3000);
  EXPECT_EQ(get64(reg::kAsq), 0x12'0000'3000u);
  controller->bar_write(0, reg::kAcq, 8, 0x34'0000'5000);
  EXPECT_EQ(get64(reg::kAcq), 0x34'0000'5000u);
}

TEST_P(NvmeRegisters, interrupt_masks_are_set_and_cleared_by_ones) {
  set(reg::kIntms, 5);
  EXPECT_EQ(get(reg::kIntms), 5u);
  set(reg::kIntms, 2);
  EXPECT_EQ(get(reg::kIntms), 7u);
  set(reg::kIntmc, 5);
  EXPECT_EQ(get(reg::kIntms), 2u);
  EXPECT_EQ(get(reg::kIntmc), 2u);
}

TEST_P(NvmeRegisters, enable_and_disable) {
  ASSERT_TRUE(enable());
  EXPECT_EQ(admin_status(command(AdminOpcode::kGetFeatures)), raw(Status::kInvalidField));
  ASSERT_TRUE(disable());
  EXPECT_EQ(get(reg::kCsts), 0u);
  EXPECT_EQ(get64(reg::kAsq), admin.sq);
  ASSERT_TRUE(enable());
  Sqe arbitration = command(AdminOpcode::kGetFeatures);
  arbitration.cdw10 = 1;
  EXPECT_EQ(admin_status(arbitration), 0);
}

TEST_P(NvmeRegisters, what_cannot_be_enabled_is_fatal_until_en_falls) {
  struct Bad {
    u64 reg;
    u32 value;
  };
  for (const Bad bad : {Bad{reg::kAsq, 0x10800}, Bad{reg::kAcq, 0x10010}, Bad{reg::kAqa, 0x001f0000},
                        Bad{reg::kAqa, 0x0000001f}, Bad{reg::kCc, 0x00460061}, Bad{reg::kCc, 0x00460281}}) {
    set(reg::kAqa, 0x001f001f);
    set64(reg::kAsq, 0x10000);
    set64(reg::kAcq, 0x11000);
    set(bad.reg, bad.value);
    if (bad.reg != reg::kCc) set(reg::kCc, kCcEnable);
    controller->poll();
    EXPECT_EQ(get(reg::kCsts), csts::kFatal) << bad.reg;
    set(reg::kCc, 0);
    controller->poll();
    EXPECT_EQ(get(reg::kCsts), 0u);
  }
  EXPECT_TRUE(enable());
}

TEST_P(NvmeRegisters, shutdown_completes_and_can_be_taken_back) {
  ASSERT_TRUE(enable());
  for (const u32 kind : {1u, 2u}) {
    set(reg::kCc, kCcEnable | kind << 14);
    ASSERT_TRUE(soon([&] { return get(reg::kCsts) == (csts::kReady | csts::kShutdownComplete); }));
    set(reg::kCc, kCcEnable);
    ASSERT_TRUE(soon([&] { return get(reg::kCsts) == csts::kReady; }));
  }
  EXPECT_EQ(admin_status(command(0x7f)), raw(Status::kInvalidOpcode));
  set(reg::kCc, kCcEnable | 1 << 14);
  ASSERT_TRUE(soon([&] { return (get(reg::kCsts) & csts::kShutdownMask) == csts::kShutdownComplete; }));
  ASSERT_TRUE(disable());
  EXPECT_EQ(get(reg::kCsts), 0u);
  EXPECT_TRUE(enable());
}

TEST_P(NvmeRegisters, shutdown_of_a_disabled_controller_completes) {
  set(reg::kCc, 1 << 14);
  EXPECT_TRUE(soon([&] { return get(reg::kCsts) == csts::kShutdownComplete; }));
}

TEST_P(NvmeRegisters, reset_makes_everything_new) {
  ASSERT_TRUE(enable());
  set(reg::kIntms, 1);
  controller->poll();
  controller->reset();
  for (const u64 offset : {0x0cu, 0x14u, 0x1cu, 0x24u, 0x28u, 0x30u}) EXPECT_EQ(get(offset), 0u) << offset;
  EXPECT_TRUE(enable());
}

TEST_P(NvmeRegisters, doorbells_before_ready_mean_nothing) {
  set(doorbell_offset(0), 3);
  controller->poll();
  ASSERT_TRUE(enable());
  EXPECT_EQ(get(reg::kCsts), csts::kReady);
  EXPECT_FALSE(take(admin));
}

TEST_P(NvmeRegisters, a_ring_that_cannot_be_reached_is_fatal) {
  ASSERT_TRUE(enable());
  dma.bus_master = false;
  put(admin, command(0x7f));
  ring_tail(admin);
  EXPECT_TRUE(soon([&] { return get(reg::kCsts) == (csts::kReady | csts::kFatal); }));
  EXPECT_THAT(notes(), Contains(HasSubstr("submission queue 0 cannot be read")));
  dma.bus_master = true;
  ASSERT_TRUE(disable());
  EXPECT_TRUE(enable());
  EXPECT_EQ(admin_status(command(0x7f)), raw(Status::kInvalidOpcode));
}

TEST_P(NvmeRegisters, a_completion_queue_that_cannot_be_written_is_fatal) {
  ASSERT_TRUE(enable());
  ASSERT_TRUE(disable());
  set64(reg::kAcq, test::FakeDma::kBase + kMemory);  // nothing there
  set(reg::kCc, kCcEnable);
  ASSERT_TRUE(soon([&] { return get(reg::kCsts) == csts::kReady; }));
  admin.tail = 0;
  put(admin, command(0x7f));
  ring_tail(admin);
  EXPECT_TRUE(soon([&] { return get(reg::kCsts) == (csts::kReady | csts::kFatal); }));
  EXPECT_THAT(notes(), Contains(HasSubstr("completion queue cannot be written")));
}

TEST_P(NvmeRegisters, the_pin_follows_unread_completions) {
  irq.messages = false;
  ASSERT_TRUE(enable());
  put(admin, command(0x7f));
  ring_tail(admin);
  ASSERT_TRUE(soon([&] { return irq.level == pci::Level::kHigh; }));
  set(reg::kIntms, 1);
  EXPECT_TRUE(soon([&] { return irq.level == pci::Level::kLow; }));
  set(reg::kIntmc, 1);
  EXPECT_TRUE(soon([&] { return irq.level == pci::Level::kHigh; }));
  ASSERT_TRUE(take(admin));
  EXPECT_TRUE(soon([&] { return irq.level == pci::Level::kLow; }));
  EXPECT_TRUE(irq.take().empty());
}

TEST_P(NvmeRegisters, wrong_doorbells_are_reported_and_change_nothing) {
  ASSERT_TRUE(enable());
  const auto await_event = [&] {
    Sqe aer = command(AdminOpcode::kAsyncEvent);
    aer.cid = 0x8001;
    put(admin, aer);
    settle();  // or the next doorbell would take the place of its
  };
  const auto read_errors = [&] {
    Sqe log = command(AdminOpcode::kGetLogPage, kAllNamespaces);
    log.data.prp1 = allocate(4096);
    log.cdw10 = 0x01 | 15 << 16;
    EXPECT_EQ(admin_status(log), 0);
  };
  await_event();
  set(doorbell_offset(2), 0);  // of a queue that does not exist, and the value that memory held at reset
  Outcome outcome = wait(admin);
  EXPECT_EQ(outcome.cid, 0x8001);
  EXPECT_EQ(outcome.result, 0x010000u);
  read_errors();
  await_event();
  set(doorbell_offset(0), admin.size + 1);
  EXPECT_EQ(wait(admin).result, 0x010100u);
  read_errors();
  await_event();
  set(doorbell_offset(1), admin.size);
  EXPECT_EQ(wait(admin).result, 0x010100u);
  EXPECT_EQ(admin_status(command(0x7f)), raw(Status::kInvalidOpcode));
}

TEST_P(NvmeRegisters, wrong_doorbells_without_a_request_are_forgotten) {
  ASSERT_TRUE(enable());
  set(doorbell_offset(2), 0);
  settle();
  put(admin, command(AdminOpcode::kAsyncEvent));
  settle();
  for (int i = 0; i < 10; ++i) controller->poll();
  EXPECT_FALSE(take(admin));
}

// A BAR can be the target of DMA, its own device's too: that must not wait for the command that it is part of.
TEST_P(NvmeRegisters, do_not_answer_the_controllers_own_dma) {
  ASSERT_TRUE(enable());
  std::atomic<int> silent{0}, asked{0};
  dma.during = [&] {
    const pci::PeerAccess peer;
    ++asked;
    silent += controller->bar_read(0, reg::kCsts, 4) == ~u64{0} ? 1 : 0;
    controller->bar_write(0, reg::kCc, 4, 0);
  };
  EXPECT_EQ(admin_status(command(0x7f)), raw(Status::kInvalidOpcode));
  ASSERT_TRUE(disable());  // nobody is inside the port any more
  dma.during = [] {};
  EXPECT_GT(asked, 0);
  EXPECT_EQ(silent, asked);
  const pci::PeerAccess peer;
  EXPECT_EQ(controller->bar_read(0, reg::kCsts, 4), 0u);  // nobody has the turn: it answers
}

// --- what only mapped memory has ---

class MappedNvme : public NvmeTest {
 protected:
  void SetUp() override {
    make();
    map_bar();
  }
};

TEST_F(MappedNvme, the_poller_serves_by_itself) {
  const auto alone = [&](auto done) {
    const auto end = pci::Clock::now() + std::chrono::seconds(20);
    while (!done()) {
      if (pci::Clock::now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  };
  EXPECT_EQ(cell(0), static_cast<u32>(kCapValue));
  const u64 sq = allocate(4096), cq = allocate(4096);
  set(reg::kAqa, 0x001f001f);
  set64(reg::kAsq, sq);
  set64(reg::kAcq, cq);
  set(reg::kCc, kCcEnable);
  ASSERT_TRUE(alone([&] { return cell(reg::kCsts) == csts::kReady; }));
  store(sq, command(0x7f));
  set(doorbell_offset(0), 1);
  std::atomic_ref<u16> status(*reinterpret_cast<u16*>(memory(cq + 14, 2).data()));
  EXPECT_TRUE(alone([&] { return status == (raw(Status::kInvalidOpcode) << 1 | 1); }));
  EXPECT_TRUE(alone([&] { return irq.take()[0] == 1; }));
}

TEST_F(MappedNvme, a_trapped_access_sees_what_was_stored_before) {
  cell(reg::kAqa) = 0x001f001f;
  EXPECT_EQ(get(reg::kAqa), 0x001f001fu);
  controller->bar_write(0, reg::kAqa, 4, 0x00070007);
  EXPECT_EQ(cell(reg::kAqa), 0x00070007u);
}

TEST_F(MappedNvme, the_msix_table_is_plain_memory) {
  cell(kMsixTable) = 0x1234;
  cell(kMsixPending) = 0x5678;
  controller->poll();
  EXPECT_EQ(cell(kMsixTable), 0x1234u);
  EXPECT_EQ(cell(kMsixPending), 0x5678u);
}

TEST_F(MappedNvme, doorbells_show_no_value) {
  ASSERT_TRUE(enable());
  EXPECT_EQ(admin_status(command(0x7f)), raw(Status::kInvalidOpcode));
  EXPECT_TRUE(soon([&] { return cell(doorbell_offset(0)) == ~u32{0} && cell(doorbell_offset(1)) == ~u32{0}; }));
}

}  // namespace
}  // namespace iommufd::models::nvme

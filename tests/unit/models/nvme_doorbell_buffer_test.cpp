// SPDX-License-Identifier: BSD-3-Clause
// Shadow doorbells (spec nvme 9), as a client that uses them everywhere does, and as one that uses them for I/O queues only.
#include "tests/unit/models/nvme_fixture.hpp"

namespace iommufd::models::nvme {
namespace {

class NvmeShadows : public NvmeTest {
 protected:
  void SetUp() override {
    config.doorbell_buffer = true;
    make();
    map_bar();
    ASSERT_TRUE(enable());
    shadows = allocate(4096);
    events = allocate(4096);
  }
  void configure() {
    Sqe sqe = command(AdminOpcode::kDoorbellBuffer);
    sqe.data = {shadows, events};
    ASSERT_EQ(admin_status(sqe), 0);
  }
  // Notes the new value; rings if the event index asks for it (Linux's rule). True: it rang.
  bool ring(u32 doorbell, u32 value) {
    const u16 old = static_cast<u16>(std::exchange(shadow(doorbell), value));
    const u16 event = static_cast<u16>(load<u32>(events + u64{doorbell} * 4)), now = static_cast<u16>(value);
    if (static_cast<u16>(now - event - 1) >= static_cast<u16>(now - old)) return false;
    set(doorbell_offset(doorbell), value);
    return true;
  }
  u32& shadow(u32 doorbell) { return *reinterpret_cast<u32*>(memory(shadows + u64{doorbell} * 4, 4).data()); }
  u64 shadows = 0, events = 0;
};

TEST_F(NvmeShadows, are_offered_only_when_asked_for) {
  const u64 page = allocate(4096);
  Sqe identify = command(AdminOpcode::kIdentify);
  identify.cdw10 = 1;
  identify.data.prp1 = page;
  ASSERT_EQ(admin_status(identify), 0);
  EXPECT_EQ(load<u16>(page + 256), 0x100);
  Sqe sqe = command(AdminOpcode::kDoorbellBuffer);
  EXPECT_EQ(admin_status(sqe), raw(Status::kInvalidField));
  sqe.data = {shadows + 8, events};
  EXPECT_EQ(admin_status(sqe), raw(Status::kInvalidField));
  config.doorbell_buffer = false;
  make();
  ASSERT_TRUE(enable());
  EXPECT_EQ(admin_status(sqe), raw(Status::kInvalidOpcode));
}

TEST_F(NvmeShadows, show_what_the_doorbells_are) {
  configure();
  EXPECT_EQ(shadow(0), 1u);  // the tail with that very command
  EXPECT_EQ(load<u32>(events), 1u);
}

TEST_F(NvmeShadows, carry_io_while_the_admin_queue_is_rung_only) {
  configure();
  Pair queue = create_pair(1);
  const u64 data = allocate(4096);
  for (u32 i = 0; i < 300; ++i) {
    Sqe sqe = io(IoOpcode::kRead, 0, 1, data);
    sqe.cid = static_cast<u16>(i);
    put(queue, sqe);
    ring(2, queue.tail);
    std::optional<Cqe> cqe;
    ASSERT_TRUE(soon([&] {
      const Cqe seen = load<Cqe>(queue.cq + u64{queue.head} * 16);
      return (seen.status & 1) == queue.phase && (cqe = seen, true);
    })) << i;
    EXPECT_EQ(cqe->cid, i);
    if (++queue.head == queue.size) {
      queue.head = 0;
      queue.phase ^= 1;
    }
    ring(3, queue.head);
  }
  EXPECT_EQ(admin_status(command(0x7f)), raw(Status::kInvalidOpcode));
}

TEST_F(NvmeShadows, a_ring_brings_all_that_the_shadow_has) {
  configure();
  Pair queue = create_pair(1);
  for (u16 i = 0; i < 3; ++i) {
    Sqe sqe = command(IoOpcode::kFlush, 1);
    sqe.cid = i;
    put(queue, sqe);
  }
  shadow(2) = 3;
  set(doorbell_offset(2), 1);
  ASSERT_TRUE(soon([&] { return load<Cqe>(queue.cq + 2 * 16).status == 1; }));
  EXPECT_EQ(load<u32>(events + 8), 3u);
}

// libvfn's way out: it clears the entries and unmaps the ring before it deletes the queue.
TEST_F(NvmeShadows, a_quiet_queue_is_not_looked_at) {
  configure();
  Pair queue = create_pair(1);
  Sqe sqe = command(IoOpcode::kFlush, 1);
  put(queue, sqe);
  ring(2, queue.tail);
  ASSERT_TRUE(soon([&] { return load<Cqe>(queue.cq).status == 1; }));
  shadow(2) = 0;
  const u64 before = static_cast<u64>(dma.transactions);
  for (int i = 0; i < 20; ++i) controller->poll();
  EXPECT_EQ(static_cast<u64>(dma.transactions), before);
  EXPECT_EQ(admin_status(delete_queue(AdminOpcode::kDeleteSq, 1)), 0);
  EXPECT_EQ(get(reg::kCsts), csts::kReady);
}

TEST_F(NvmeShadows, of_a_new_queue_begin_at_0) {
  configure();
  shadow(2) = 7;
  store(events + 8, u32{7});
  create_pair(1);
  EXPECT_EQ(shadow(2), 0u);
  EXPECT_EQ(load<u32>(events + 8), 0u);
}

TEST_F(NvmeShadows, of_the_admin_queue_work_too) {
  configure();
  for (u16 i = 0; i < 100; ++i) {
    Sqe sqe = command(0x7f);
    sqe.cid = i;
    put(admin, sqe);
    EXPECT_TRUE(ring(0, admin.tail));
    std::optional<u16> cid;
    ASSERT_TRUE(soon([&] {
      const Cqe seen = load<Cqe>(admin.cq + u64{admin.head} * 16);
      if ((seen.status & 1) != admin.phase) return false;
      cid = seen.cid;
      return true;
    }));
    EXPECT_EQ(cid, i);
    if (++admin.head == admin.size) {
      admin.head = 0;
      admin.phase ^= 1;
    }
    ring(1, admin.head);
  }
}

TEST_F(NvmeShadows, that_cannot_be_reached_are_fatal) {
  configure();
  dma.bus_master = false;
  set(doorbell_offset(0), 3);
  EXPECT_TRUE(soon([&] { return (get(reg::kCsts) & csts::kFatal) != 0; }));
  dma.bus_master = true;
}

}  // namespace
}  // namespace iommufd::models::nvme

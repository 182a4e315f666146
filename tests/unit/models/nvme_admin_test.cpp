// SPDX-License-Identifier: BSD-3-Clause
// Admin commands: every row of sections 5, 6 and 10 of the sheet.
#include "models/nvme/identify.hpp"
#include "tests/unit/models/nvme_fixture.hpp"

namespace iommufd::models::nvme {
namespace {

class NvmeAdmin : public NvmeTest {
 protected:
  void SetUp() override {
    config.namespaces = 3;
    make();
    begin();
  }
  void begin() {
    ASSERT_TRUE(enable());
    page = allocate(4096);
  }
  Outcome identify(u32 cns, u32 nsid, u32 cdw11 = 0) {
    std::ranges::fill(memory(page, 4096), u8{0xee});
    Sqe sqe = command(AdminOpcode::kIdentify, nsid);
    sqe.cdw10 = cns;
    sqe.cdw11 = cdw11;
    sqe.data.prp1 = page;
    return run(admin, sqe);
  }
  Outcome set_feature(u32 fid, u32 value, u32 nsid = 0) {
    Sqe sqe = command(AdminOpcode::kSetFeatures, nsid);
    sqe.cdw10 = fid;
    sqe.cdw11 = value;
    sqe.data.prp1 = page;
    return run(admin, sqe);
  }
  Outcome get_feature(u32 fid, u32 cdw11 = 0, u32 nsid = 0) {
    Sqe sqe = command(AdminOpcode::kGetFeatures, nsid);
    sqe.cdw10 = fid;
    sqe.cdw11 = cdw11;
    sqe.data.prp1 = page;
    return run(admin, sqe);
  }
  Outcome get_log(u32 lid, u64 length, u64 offset = 0, u32 nsid = kAllNamespaces, bool retain = false) {
    std::ranges::fill(memory(page, 4096), u8{0xee});
    Sqe sqe = command(AdminOpcode::kGetLogPage, nsid);
    const u32 dwords = static_cast<u32>(length / 4 - 1);
    sqe.cdw10 = lid | (retain ? 1 << 15 : 0) | dwords << 16;
    sqe.cdw11 = dwords >> 16;
    sqe.cdw12 = static_cast<u32>(offset);
    sqe.cdw13 = static_cast<u32>(offset >> 32);
    sqe.data.prp1 = page;
    return run(admin, sqe);
  }
  void post_aer(u16 cid) {
    Sqe aer = command(AdminOpcode::kAsyncEvent);
    aer.cid = cid;
    put(admin, aer);
    ring_tail(admin);
  }
  bool quiet() {
    for (int i = 0; i < 20; ++i) controller->poll();
    return !take(admin);
  }
  u64 page = 0;
};

TEST_F(NvmeAdmin, unknown_opcodes_and_flags_are_refused) {
  for (u32 opcode = 0; opcode < 256; ++opcode) {
    const bool known = (opcode <= 0x0a && opcode != 0x03 && opcode != 0x07) || opcode == 0x0c;
    Sqe sqe = command(opcode);
    if (!known) {
      EXPECT_EQ(admin_status(sqe), raw(Status::kInvalidOpcode)) << opcode;
      continue;
    }
    for (const u8 flags : {0x01, 0x02, 0x40, 0x80}) {
      sqe.flags = flags;
      EXPECT_EQ(admin_status(sqe), raw(Status::kInvalidField)) << opcode;
    }
  }
}

TEST_F(NvmeAdmin, identify_controller_ignores_nsid) {
  for (const u32 nsid : {0u, 1u, 77u, kAllNamespaces}) ASSERT_EQ(identify(1, nsid).status, 0);
  EXPECT_EQ(load<u16>(page), 0x1b36);
  EXPECT_EQ(load<u16>(page + 2), 0x1af4);
  EXPECT_EQ(load<u8>(page + 77), 7);
  EXPECT_EQ(load<u32>(page + 80), 0x00010400u);
  EXPECT_EQ(load<u16>(page + 256), 0);
  EXPECT_EQ(load<u8>(page + 259), 3);
  EXPECT_EQ(load<u8>(page + 261), 6);
  EXPECT_EQ(load<u8>(page + 512), 0x66);
  EXPECT_EQ(load<u8>(page + 513), 0x44);
  EXPECT_EQ(load<u32>(page + 516), 3u);
  EXPECT_EQ(load<u16>(page + 520), 0x0d);
  EXPECT_EQ(load<u8>(page + 525), 7);
  EXPECT_EQ(load<u32>(page + 536), 0x00010001u);
  EXPECT_EQ(std::string(reinterpret_cast<char*>(memory(page + 4, 20).data()), 20), "TEST                ");
  const std::string nqn(reinterpret_cast<char*>(memory(page + 768, 256).data()));
  EXPECT_THAT(nqn, testing::MatchesRegex("nqn\\.2014-08\\.org\\.nvmexpress:uuid:[0-9a-f-]{36}"));
  EXPECT_EQ(load<u8>(page + 4095), 0);
}

TEST_F(NvmeAdmin, identify_namespace) {
  for (const u32 nsid : {1u, 3u}) {
    ASSERT_EQ(identify(0, nsid).status, 0);
    EXPECT_EQ(load<u64>(page), (4u << 20) / 512);
    EXPECT_EQ(load<u64>(page + 8), (4u << 20) / 512);
    EXPECT_EQ(load<u8>(page + 25), 0);
    EXPECT_EQ(load<u8>(page + 33), 9);
    EXPECT_EQ(load<u32>(page + 128), 9u << 16);
  }
  for (const u32 nsid : {0u, 4u, kAllNamespaces}) EXPECT_EQ(identify(0, nsid).status, raw(Status::kInvalidNamespace));
}

TEST_F(NvmeAdmin, identify_lists_namespaces_above) {
  ASSERT_EQ(identify(2, 0).status, 0);
  EXPECT_EQ(load<u32>(page), 1u);
  EXPECT_EQ(load<u32>(page + 8), 3u);
  EXPECT_EQ(load<u32>(page + 12), 0u);
  ASSERT_EQ(identify(2, 2).status, 0);
  EXPECT_EQ(load<u32>(page), 3u);
  EXPECT_EQ(load<u32>(page + 4), 0u);
  ASSERT_EQ(identify(2, 0x1000).status, 0);
  EXPECT_EQ(load<u32>(page), 0u);
  for (const u32 nsid : {0xfffffffeu, 0xffffffffu}) EXPECT_EQ(identify(2, nsid).status, raw(Status::kInvalidNamespace));
}

TEST_F(NvmeAdmin, identify_descriptors_differ_by_namespace) {
  std::array<u64, 3> low{};
  for (u32 nsid = 1; nsid <= 3; ++nsid) {
    ASSERT_EQ(identify(3, nsid).status, 0);
    EXPECT_EQ(load<u16>(page), 0x1003);  // a UUID, 16 bytes
    low[nsid - 1] = load<u64>(page + 4);
    EXPECT_EQ(load<u16>(page + 20), 0x0104);
    EXPECT_EQ(load<u8>(page + 24), 0);
    EXPECT_EQ(load<u8>(page + 26), 0);  // the end
  }
  EXPECT_NE(low[0], low[1]);
  EXPECT_EQ(identify(3, 4).status, raw(Status::kInvalidNamespace));
}

TEST_F(NvmeAdmin, identify_of_command_sets_is_zeros) {
  for (const u32 cns : {5u, 6u}) {
    ASSERT_EQ(identify(cns, 1).status, 0);
    EXPECT_THAT(memory(page, 4096), testing::Each(0));
    EXPECT_EQ(identify(cns, 1, 2u << 24).status, raw(Status::kInvalidField));
  }
  for (const u32 cns : {4u, 7u, 8u, 0x10u, 0xffu}) EXPECT_EQ(identify(cns, 1).status, raw(Status::kInvalidField));
}

TEST_F(NvmeAdmin, data_pointers_of_identify) {
  page += 3072;  // and no PRP2
  EXPECT_EQ(identify(1, 0).status, raw(Status::kInvalidField));
  page = 0x1000;
  Sqe sqe = command(AdminOpcode::kIdentify);
  sqe.cdw10 = 1;
  sqe.data.prp1 = 0x1000;  // no memory there
  EXPECT_EQ(admin_status(sqe), raw(Status::kDataTransferError));
  sqe.data.prp1 = 0x10002;
  EXPECT_EQ(admin_status(sqe), raw(Status::kPrpOffset));
}

// --- queues ---

TEST_F(NvmeAdmin, create_cq_checks) {
  const u64 ring = allocate(4096);
  EXPECT_EQ(admin_status(create_cq(0, 8, ring)), raw(Status::kInvalidQueueId));
  EXPECT_EQ(admin_status(create_cq(65, 8, ring)), raw(Status::kInvalidQueueId));
  EXPECT_EQ(admin_status(create_cq(1, 1, ring)), raw(Status::kInvalidQueueSize));
  EXPECT_EQ(admin_status(create_cq(1, 2049, ring)), raw(Status::kInvalidQueueSize));
  EXPECT_EQ(admin_status(create_cq(1, 8, ring + 512)), raw(Status::kPrpOffset));
  EXPECT_EQ(admin_status(create_cq(1, 8, 0)), raw(Status::kPrpOffset));
  EXPECT_EQ(admin_status(create_cq(1, 8, ring, 65)), raw(Status::kInvalidVector));
  EXPECT_EQ(admin_status(create_cq(1, 8, ring, 2048)), raw(Status::kInvalidVector));
  Sqe scattered = create_cq(1, 8, ring, 2048);
  scattered.cdw11 &= ~u32{1};
  EXPECT_EQ(admin_status(scattered), raw(Status::kInvalidVector));  // before PC
  scattered.cdw11 = 0;
  EXPECT_EQ(admin_status(scattered), raw(Status::kInvalidField));
  EXPECT_EQ(admin_status(create_cq(1, 2, ring, 64)), 0);
  EXPECT_EQ(admin_status(create_cq(1, 8, ring)), raw(Status::kInvalidQueueId));
  EXPECT_EQ(admin_status(create_cq(64, 2048, ring)), 0);
}

TEST_F(NvmeAdmin, a_vector_is_taken_while_messages_are_off) {
  irq.messages = false;
  EXPECT_EQ(admin_status(create_cq(1, 8, allocate(4096), 2)), 0);
}

TEST_F(NvmeAdmin, create_sq_checks) {
  const u64 ring = allocate(4096);
  ASSERT_EQ(admin_status(create_cq(2, 8, allocate(4096))), 0);
  EXPECT_EQ(admin_status(create_sq(1, 8, ring, 0)), raw(Status::kInvalidQueueId));
  EXPECT_EQ(admin_status(create_sq(1, 8, ring, 65)), raw(Status::kInvalidQueueId));
  EXPECT_EQ(admin_status(create_sq(1, 8, ring, 1)), raw(Status::kInvalidCq));
  EXPECT_EQ(admin_status(create_sq(0, 8, ring, 2)), raw(Status::kInvalidQueueId));
  EXPECT_EQ(admin_status(create_sq(65, 8, ring, 2)), raw(Status::kInvalidQueueId));
  EXPECT_EQ(admin_status(create_sq(1, 1, ring, 2)), raw(Status::kInvalidQueueSize));
  EXPECT_EQ(admin_status(create_sq(1, 2049, ring, 2)), raw(Status::kInvalidQueueSize));
  EXPECT_EQ(admin_status(create_sq(1, 8, ring + 64, 2)), raw(Status::kPrpOffset));
  Sqe scattered = create_sq(1, 8, ring, 2);
  scattered.cdw11 &= ~u32{1};
  EXPECT_EQ(admin_status(scattered), raw(Status::kInvalidField));
  EXPECT_EQ(admin_status(create_sq(4, 2, ring, 2)), 0);  // numbers are independent, and many share a CQ
  EXPECT_EQ(admin_status(create_sq(1, 2, allocate(4096), 2)), 0);
  EXPECT_EQ(admin_status(create_sq(4, 8, ring, 2)), raw(Status::kInvalidQueueId));
}

TEST_F(NvmeAdmin, delete_checks) {
  EXPECT_EQ(admin_status(delete_queue(AdminOpcode::kDeleteSq, 0)), raw(Status::kInvalidQueueId));
  EXPECT_EQ(admin_status(delete_queue(AdminOpcode::kDeleteCq, 0)), raw(Status::kInvalidQueueId));
  EXPECT_EQ(admin_status(delete_queue(AdminOpcode::kDeleteSq, 1)), raw(Status::kInvalidQueueId));
  EXPECT_EQ(admin_status(delete_queue(AdminOpcode::kDeleteCq, 0xffff)), raw(Status::kInvalidQueueId));
  create_pair(1);
  EXPECT_EQ(admin_status(delete_queue(AdminOpcode::kDeleteCq, 1)), raw(Status::kInvalidQueueDeletion));
  EXPECT_EQ(admin_status(delete_queue(AdminOpcode::kDeleteSq, 1)), 0);
  EXPECT_EQ(admin_status(delete_queue(AdminOpcode::kDeleteSq, 1)), raw(Status::kInvalidQueueId));
  EXPECT_EQ(admin_status(delete_queue(AdminOpcode::kDeleteCq, 1)), 0);
  create_pair(1);
}

TEST_F(NvmeAdmin, entry_sizes_are_checked_at_the_first_queue) {
  ASSERT_TRUE(disable());
  ASSERT_TRUE(enable(32, 1));
  EXPECT_EQ(admin_status(create_cq(1, 8, allocate(4096))), raw(Status::kInvalidQueueSize));
  set(reg::kCc, 0x00400001);
  EXPECT_EQ(admin_status(create_cq(1, 8, allocate(4096))), 0);
  EXPECT_EQ(admin_status(create_sq(1, 8, allocate(4096), 1)), raw(Status::kInvalidQueueSize));
}

TEST_F(NvmeAdmin, all_pairs_can_exist_and_no_more) {
  const u64 ring = allocate(4096);
  for (u32 id = 1; id <= 64; ++id) {
    ASSERT_EQ(admin_status(create_cq(id, 2, ring, id)), 0);
    ASSERT_EQ(admin_status(create_sq(id, 2, ring, id)), 0);
  }
  EXPECT_EQ(admin_status(create_cq(65, 2, ring)), raw(Status::kInvalidQueueId));
}

TEST_F(NvmeAdmin, the_number_of_queues_is_negotiated_once) {
  EXPECT_EQ(get_feature(7).result, 63u | 63u << 16);
  EXPECT_EQ(set_feature(7, 0xffff).status, raw(Status::kInvalidField));
  EXPECT_EQ(set_feature(7, 0xffff0000).status, raw(Status::kInvalidField));
  EXPECT_EQ(set_feature(7, 200 | 3 << 16).result, 63u | 3u << 16);
  EXPECT_EQ(get_feature(7).result, 63u | 3u << 16);
  const u64 ring = allocate(4096);
  EXPECT_EQ(admin_status(create_cq(5, 8, ring)), raw(Status::kInvalidQueueId));
  EXPECT_EQ(admin_status(create_cq(4, 8, ring)), 0);
  EXPECT_EQ(set_feature(7, 0).status, raw(Status::kCommandSequence));
  ASSERT_TRUE(disable());
  begin();
  EXPECT_EQ(set_feature(7, 0).result, 0u);
}

TEST_F(NvmeAdmin, many_commands_at_once_and_around_the_end_of_a_small_ring) {
  ASSERT_TRUE(disable());
  ASSERT_TRUE(enable(3));
  for (int i = 0; i < 20; ++i) {
    for (u16 k = 0; k < 2; ++k) {
      Sqe sqe = command(0x7f);
      sqe.cid = static_cast<u16>(i * 2 + k);
      put(admin, sqe);
    }
    ring_tail(admin);
    for (u16 k = 0; k < 2; ++k) EXPECT_EQ(wait(admin).cid, i * 2 + k);
    EXPECT_EQ(admin.sq_head, admin.tail);
  }
}

// --- features ---

TEST_F(NvmeAdmin, features_that_are_mandatory_exist) {
  for (const u32 fid : {1u, 2u, 4u, 5u, 6u, 7u, 8u, 9u, 0xau, 0xbu, 0xfu}) EXPECT_EQ(get_feature(fid).status, 0) << fid;
  for (const u32 fid : {0u, 3u, 0xcu, 0xdu, 0xeu, 0x10u, 0x11u, 0x12u, 0x15u, 0x17u, 0x80u, 0x82u, 0xffu}) {
    EXPECT_EQ(get_feature(fid).status, raw(Status::kInvalidField)) << fid;
    EXPECT_EQ(set_feature(fid, 0).status, raw(Status::kInvalidField)) << fid;
  }
  EXPECT_EQ(get_feature(1).result, 7u);
  EXPECT_EQ(get_feature(6).result, 1u);
}

TEST_F(NvmeAdmin, values_are_stored_until_reset) {
  for (const u32 fid : {1u, 5u, 8u, 0xau, 0xbu, 0xfu}) {
    EXPECT_EQ(set_feature(fid, 0x55).status, 0);
    EXPECT_EQ(get_feature(fid).result, 0x55u);
    EXPECT_NE(get_feature(fid | 1 << 8).result, 0x55u);  // the default
    EXPECT_NE(get_feature(fid | 2 << 8).result, 0x55u);  // the saved value
    EXPECT_EQ(get_feature(fid | 3 << 8).result & 4, 4u);
    EXPECT_EQ(get_feature(fid | 4 << 8).status, raw(Status::kInvalidField));
    EXPECT_EQ(set_feature(fid | 1u << 31, 1).status, raw(Status::kNotSaveable));
  }
  ASSERT_TRUE(disable());
  begin();
  EXPECT_EQ(get_feature(0xb).result, 0u);
}

TEST_F(NvmeAdmin, namespaces_of_features) {
  EXPECT_EQ(set_feature(0xb, 0, 1).status, raw(Status::kNotNamespaceSpecific));
  EXPECT_EQ(set_feature(0xb, 0, 4).status, raw(Status::kInvalidNamespace));
  EXPECT_EQ(set_feature(0xb, 0, kAllNamespaces).status, 0);
  EXPECT_EQ(set_feature(6, 0, 1).status, 0);
  EXPECT_EQ(get_feature(6).result, 0u);
  EXPECT_EQ(get_feature(5, 0, 0).status, 0);
}

TEST_F(NvmeAdmin, vectors_and_power) {
  EXPECT_EQ(set_feature(9, 3 | 1 << 16).status, 0);
  EXPECT_EQ(get_feature(9, 3).result, 3u | 1u << 16);
  EXPECT_EQ(get_feature(9, 4).result, 4u);
  EXPECT_EQ(get_feature(9, 65).status, raw(Status::kInvalidField));
  EXPECT_EQ(set_feature(9, 65).status, raw(Status::kInvalidField));
  EXPECT_EQ(set_feature(2, 0).status, 0);
  EXPECT_EQ(set_feature(2, 1).status, raw(Status::kInvalidField));
}

TEST_F(NvmeAdmin, features_with_a_payload) {
  fill(page, 512, 1);
  EXPECT_EQ(set_feature(0x16, 0).status, 0);
  EXPECT_EQ(set_feature(0x81, 1).status, 0);
  const u64 sent = std::exchange(page, allocate(4096));
  EXPECT_EQ(get_feature(0x16).status, 0);
  EXPECT_TRUE(same(sent, page, 512));
  EXPECT_EQ(load<u8>(page + 512), 0);
  std::ranges::fill(memory(page, 512), u8{0});
  EXPECT_EQ(get_feature(0x81, 0).status, 0);
  EXPECT_TRUE(same(sent, page, 8));
  EXPECT_EQ(load<u64>(page + 8), 0u);
}

TEST_F(NvmeAdmin, temperature_thresholds) {
  EXPECT_EQ(get_feature(4).result, 343u);
  EXPECT_EQ(get_feature(4, 1 << 20).result, 0u);
  EXPECT_EQ(get_feature(4, 2 << 20).status, raw(Status::kInvalidField));
  EXPECT_EQ(get_feature(4, 1 << 16).result, 0u);
  EXPECT_EQ(set_feature(4, 100 | 3 << 20).status, raw(Status::kInvalidField));
  EXPECT_EQ(set_feature(4, 200).status, 0);
  EXPECT_EQ(get_feature(4).result, 200u);
  ASSERT_EQ(get_log(2, 512).status, 0);
  EXPECT_EQ(load<u8>(page), 2);
  EXPECT_EQ(load<u16>(page + 1), 323);
}

// --- events ---

TEST_F(NvmeAdmin, a_request_alone_never_completes) {
  post_aer(0x8005);
  EXPECT_TRUE(quiet());
}

// The sequence of libvfn's aer test.
TEST_F(NvmeAdmin, crossing_a_threshold_is_reported_once) {
  ASSERT_EQ(set_feature(0xb, 2).status, 0);
  post_aer(0x8005);
  EXPECT_TRUE(quiet());
  Sqe lower = command(AdminOpcode::kSetFeatures);
  lower.cid = 7;
  lower.cdw10 = 4;
  lower.cdw11 = 200;
  put(admin, lower);
  ring_tail(admin);
  Outcome a = wait(admin), b = wait(admin);
  if (a.cid == 7) std::swap(a, b);
  EXPECT_EQ(a.cid, 0x8005);
  EXPECT_EQ(a.result, 0x00020101u);
  EXPECT_EQ(b.status, 0);
  post_aer(0x8006);
  EXPECT_EQ(set_feature(4, 199).status, 0);
  EXPECT_TRUE(quiet());                                            // held until the page is read
  EXPECT_EQ(get_log(2, 4096, 0, kAllNamespaces, true).status, 0);  // and that keeps it so
  EXPECT_TRUE(quiet());
  Sqe log = command(AdminOpcode::kGetLogPage, kAllNamespaces);
  log.cid = 9;
  log.cdw10 = 2 | 127 << 16;
  log.data.prp1 = page;
  put(admin, log);
  ring_tail(admin);
  a = wait(admin), b = wait(admin);
  if (a.cid == 9) std::swap(a, b);
  EXPECT_EQ(a.cid, 0x8006);
}

TEST_F(NvmeAdmin, nothing_is_reported_that_was_not_asked_for) {
  post_aer(1);
  EXPECT_EQ(set_feature(4, 200).status, 0);
  EXPECT_TRUE(quiet());
}

TEST_F(NvmeAdmin, requests_are_limited_and_can_be_aborted) {
  for (u16 i = 0; i < 4; ++i) post_aer(static_cast<u16>(0x8000 + i));
  EXPECT_TRUE(quiet());
  EXPECT_EQ(admin_status(command(AdminOpcode::kAsyncEvent)), raw(Status::kAerLimit));
  Sqe abort = command(AdminOpcode::kAbort);
  abort.cid = 3;
  abort.cdw10 = 0x8002u << 16;
  put(admin, abort);
  ring_tail(admin);
  const Outcome aborted = wait(admin), done = wait(admin);
  EXPECT_EQ(aborted.cid, 0x8002);
  EXPECT_EQ(aborted.status, raw(Status::kAborted));
  EXPECT_EQ(done.cid, 3);
  EXPECT_EQ(done.result, 0u);
  EXPECT_EQ(run(admin, abort).result, 1u);
  abort.cdw10 = 9;  // a queue that does not exist
  EXPECT_EQ(run(admin, abort).status, raw(Status::kInvalidField));
  ASSERT_TRUE(disable());
  begin();
  for (u16 i = 0; i < 4; ++i) post_aer(i);
  EXPECT_TRUE(quiet());
}

TEST_F(NvmeAdmin, waiting_requests_do_not_fill_a_small_queue) {
  ASSERT_TRUE(disable());
  ASSERT_TRUE(enable(2));
  for (u16 i = 0; i < 3; ++i) {
    post_aer(static_cast<u16>(0x8000 + i));
    EXPECT_TRUE(quiet());
  }
  for (int i = 0; i < 5; ++i) EXPECT_EQ(admin_status(command(0x7f)), raw(Status::kInvalidOpcode));
}

// --- log pages ---

TEST_F(NvmeAdmin, logs_may_be_asked_for_longer_than_they_are) {
  struct Log {
    u32 lid;
    u32 size;
  };
  for (const Log log : {Log{1, 64}, Log{2, 512}, Log{3, 512}, Log{4, 4096}, Log{5, 4096}}) {
    EXPECT_EQ(get_log(log.lid, 4096, 0, 0).status, 0) << log.lid;
    if (log.size < 4096) {
      EXPECT_EQ(load<u8>(page + log.size), 0xee) << log.lid;
    }
    EXPECT_NE(load<u8>(page + log.size - 1), 0xee) << log.lid;
    EXPECT_EQ(get_log(log.lid, 4, log.size).status, raw(Status::kInvalidField)) << log.lid;
    EXPECT_EQ(get_log(log.lid, 4, u64{1} << 32).status, raw(Status::kInvalidField)) << log.lid;
    EXPECT_EQ(get_log(log.lid, 4, 2).status, raw(Status::kInvalidField)) << log.lid;
    EXPECT_EQ(get_log(log.lid, 64, log.size - 4).status, 0) << log.lid;
  }
  for (const u32 lid : {0u, 6u, 0x0cu, 0x80u, 0xffu})
    EXPECT_EQ(get_log(lid, 512).status, raw(Status::kInvalidLogPage)) << lid;
  EXPECT_EQ(get_log(2, 512, 0, 1).status, raw(Status::kInvalidField));
}

TEST_F(NvmeAdmin, contents_of_logs) {
  ASSERT_EQ(get_log(2, 512).status, 0);
  EXPECT_EQ(load<u8>(page), 0);
  EXPECT_EQ(load<u8>(page + 3), 100);
  ASSERT_EQ(get_log(3, 512).status, 0);
  EXPECT_EQ(load<u8>(page), 1);
  ASSERT_EQ(get_log(5, 4096, 0, 0).status, 0);
  EXPECT_EQ(load<u32>(page + 6 * 4), 1u);
  EXPECT_EQ(load<u32>(page + 0x7c * 4), 0u);
  EXPECT_EQ(load<u32>(page + 1024 + 2 * 4), 1u);
}

}  // namespace
}  // namespace iommufd::models::nvme

// SPDX-License-Identifier: BSD-3-Clause
// I/O commands (spec nvme 7 and 10), with blocks in memory and in files, and queues that fill and wrap.
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>

#include "models/nvme/file_store.hpp"
#include "tests/unit/models/nvme_fixture.hpp"

namespace iommufd::models::nvme {
namespace {

enum class Medium { kMemory, kUring, kSync };

class NvmeIo : public NvmeTest, public testing::WithParamInterface<Medium> {
 protected:
  void SetUp() override {
    config.namespaces = 2;
    create();
  }
  void create() {
    make(new_store());
    if (GetParam() != Medium::kMemory) map_bar();
    ASSERT_TRUE(enable());
    queue = create_pair(1);
    a = allocate(128 * kPageSize);
    b = allocate(128 * kPageSize);
  }
  std::unique_ptr<Store> new_store() {
    if (GetParam() == Medium::kMemory) return nullptr;
    char path[] = "/tmp/nvme_io_XXXXXX";
    file = Fd(::mkstemp(path));
    EXPECT_TRUE(file.valid());
    ::unlink(path);
    EXPECT_EQ(::ftruncate(file.get(), static_cast<off_t>(config.namespace_size * config.namespaces)), 0);
    const Engine engine = GetParam() == Medium::kUring ? Engine::kUring : Engine::kSync;
    return std::make_unique<FileStore>(Fd(::dup(file.get())), engine, [this](std::string_view line) { note(line); });
  }
  u16 read(u64 block, u32 blocks, u64 at, u32 nsid = 1) { return transfer(IoOpcode::kRead, block, blocks, at, nsid); }
  u16 write(u64 block, u32 blocks, u64 at, u32 nsid = 1) { return transfer(IoOpcode::kWrite, block, blocks, at, nsid); }
  // Contiguous memory at `at`, whose pages are listed as far as needed.
  u16 transfer(IoOpcode opcode, u64 block, u32 blocks, u64 at, u32 nsid) {
    return status_of(queue, with_pages(io(opcode, block, blocks, at, 0, nsid), u64{blocks} << config.block_lg2));
  }
  Sqe with_pages(Sqe sqe, u64 bytes) {
    const u64 first = kPageSize - sqe.data.prp1 % kPageSize;
    if (bytes <= first) return sqe;
    const u64 next = sqe.data.prp1 + first;
    if (bytes - first <= kPageSize) {
      sqe.data.prp2 = next;
      return sqe;
    }
    if (list == 0) list = allocate(2 * kPageSize);
    sqe.data.prp2 = list + 8;
    for (u64 i = 0; i * kPageSize < bytes - first; ++i) store(list + 8 + i * 8, next + i * kPageSize);
    return sqe;
  }
  u64 blocks_of_namespace() const { return config.blocks(); }

  Fd file;
  Pair queue;
  u64 a = 0, b = 0, list = 0;
};
std::string medium_name(const testing::TestParamInfo<Medium>& info) {
  if (info.param == Medium::kMemory) return "memory";
  return info.param == Medium::kUring ? "uring" : "sync";
}
INSTANTIATE_TEST_SUITE_P(Medium, NvmeIo, testing::Values(Medium::kMemory, Medium::kUring, Medium::kSync), medium_name);

TEST_P(NvmeIo, what_was_written_is_read) {
  for (const u32 blocks : {1u, 8u, 9u, 16u, 1000u, 1024u}) {
    const u64 bytes = blocks * 512;
    fill(a, bytes, static_cast<u8>(blocks));
    std::ranges::fill(memory(b, 128 * kPageSize), u8{0});
    ASSERT_EQ(write(3, blocks, a), 0);
    ASSERT_EQ(read(3, blocks, b), 0);
    EXPECT_TRUE(same(a, b, bytes)) << blocks;
    if (bytes < 128 * kPageSize) {
      EXPECT_EQ(memory(b + bytes, 1)[0], 0);
    }
  }
}

TEST_P(NvmeIo, new_blocks_read_as_zeros_and_namespaces_are_apart) {
  fill(a, 4096, 1);
  ASSERT_EQ(write(0, 8, a, 2), 0);
  fill(b, 4096, 9);
  ASSERT_EQ(read(0, 8, b, 1), 0);
  EXPECT_THAT(memory(b, 4096), testing::Each(0));
  ASSERT_EQ(read(0, 8, b, 2), 0);
  EXPECT_TRUE(same(a, b, 4096));
}

TEST_P(NvmeIo, blocks_of_4096_bytes) {
  TearDown();
  config.block_lg2 = 12;
  create();
  fill(a, 8192, 5);
  ASSERT_EQ(write(1023, 1, a), 0);
  ASSERT_EQ(read(1023, 1, b), 0);
  EXPECT_TRUE(same(a, b, 4096));
  EXPECT_EQ(read(1024, 1, b), raw(Status::kLbaRange));
}

TEST_P(NvmeIo, ranges_are_checked) {
  const u64 end = blocks_of_namespace();
  EXPECT_EQ(read(end - 1, 1, a), 0);
  EXPECT_EQ(read(end, 1, a), raw(Status::kLbaRange));
  EXPECT_EQ(write(end - 1, 2, a), raw(Status::kLbaRange));
  EXPECT_EQ(read(~u64{0}, 1, a), raw(Status::kLbaRange));
  EXPECT_EQ(read(~u64{0} - 7, 8, a), raw(Status::kLbaRange));
  EXPECT_EQ(read(0, 1025, a), raw(Status::kInvalidField));  // beyond MDTS
  EXPECT_EQ(status_of(queue, io(IoOpcode::kWriteZeroes, end - 1, 2, 0)), raw(Status::kLbaRange));
  EXPECT_EQ(status_of(queue, io(IoOpcode::kCompare, end, 1, a)), raw(Status::kLbaRange));
}

TEST_P(NvmeIo, namespaces_opcodes_and_flags_are_checked) {
  for (const u32 nsid : {0u, 3u, kAllNamespaces}) {
    EXPECT_EQ(read(0, 1, a, nsid), raw(Status::kInvalidNamespace)) << nsid;
    if (nsid != kAllNamespaces) {
      EXPECT_EQ(status_of(queue, command(IoOpcode::kFlush, nsid)), raw(Status::kInvalidNamespace));
    }
  }
  for (u32 opcode = 0; opcode < 256; ++opcode) {
    if (opcode <= 2 || opcode == 5 || opcode == 8 || opcode == 9) continue;
    EXPECT_EQ(status_of(queue, command(opcode, 1)), raw(Status::kInvalidOpcode)) << opcode;
  }
  for (const u8 flags : {0x01, 0x02, 0xc0}) {
    Sqe sqe = io(IoOpcode::kRead, 0, 1, a);
    sqe.flags = flags;
    EXPECT_EQ(status_of(queue, sqe), raw(Status::kInvalidField));
  }
}

TEST_P(NvmeIo, flush_of_one_and_of_all_namespaces) {
  EXPECT_EQ(status_of(queue, command(IoOpcode::kFlush, 1)), 0);
  EXPECT_EQ(status_of(queue, command(IoOpcode::kFlush, kAllNamespaces)), 0);
}

TEST_P(NvmeIo, writes_that_last_at_once) {
  Sqe fua = io(IoOpcode::kWrite, 0, 1, a);
  fua.cdw12 |= 1u << 30;
  EXPECT_EQ(status_of(queue, fua), 0);
  Sqe cache_off = command(AdminOpcode::kSetFeatures, 1);
  cache_off.cdw10 = 6;
  EXPECT_EQ(admin_status(cache_off), 0);
  EXPECT_EQ(write(0, 1, a), 0);
  EXPECT_EQ(status_of(queue, io(IoOpcode::kWriteZeroes, 0, 8, 0)), 0);
}

TEST_P(NvmeIo, compare) {
  fill(a, 4096, 3);
  ASSERT_EQ(write(0, 8, a), 0);
  EXPECT_EQ(status_of(queue, io(IoOpcode::kCompare, 0, 8, a)), 0);
  memory(a + 4095, 1)[0] ^= 1;
  EXPECT_EQ(status_of(queue, io(IoOpcode::kCompare, 0, 8, a)), raw(Status::kCompareFailure));
  EXPECT_EQ(status_of(queue, io(IoOpcode::kCompare, 0, 8, 0x1000)), raw(Status::kDataTransferError));
}

TEST_P(NvmeIo, write_zeroes) {
  for (const u32 deallocate : {0u, 1u << 25}) {
    fill(a, 16 * 512, 3);
    ASSERT_EQ(write(0, 16, a), 0);
    Sqe sqe = io(IoOpcode::kWriteZeroes, 1, 14, 0);
    sqe.cdw12 |= deallocate;
    ASSERT_EQ(status_of(queue, sqe), 0);
    ASSERT_EQ(read(0, 16, b), 0);
    EXPECT_TRUE(same(a, b, 512));
    EXPECT_THAT(memory(b + 512, 14 * 512), testing::Each(0));
    EXPECT_TRUE(same(a + 15 * 512, b + 15 * 512, 512));
  }
  EXPECT_EQ(status_of(queue, io(IoOpcode::kWriteZeroes, 0, static_cast<u32>(blocks_of_namespace()), 0)), 0);
}

TEST_P(NvmeIo, dataset_management) {
  fill(a, 1024 * 512, 3);
  ASSERT_EQ(write(0, 1024, a), 0);
  const u64 ranges = allocate(kPageSize);
  const auto range = [&](u64 i, u32 blocks, u64 start) {
    store(ranges + i * 16, u32{0});
    store(ranges + i * 16 + 4, blocks);
    store(ranges + i * 16 + 8, start);
  };
  range(0, 8, 8);
  range(1, 0, 0);
  range(2, 16, 1000);
  Sqe sqe = command(IoOpcode::kDatasetManagement, 1);
  sqe.data.prp1 = ranges;
  sqe.cdw10 = 2;
  EXPECT_EQ(status_of(queue, sqe), 0);  // hints
  ASSERT_EQ(read(8, 8, b), 0);
  EXPECT_TRUE(same(a + 8 * 512, b, 8 * 512));
  sqe.cdw11 = 4;
  EXPECT_EQ(status_of(queue, sqe), 0);
  ASSERT_EQ(read(0, 1024, b), 0);
  EXPECT_TRUE(same(a, b, 8 * 512));
  EXPECT_THAT(memory(b + 8 * 512, 8 * 512), testing::Each(0));
  EXPECT_TRUE(same(a + 16 * 512, b + 16 * 512, 984 * 512));
  EXPECT_THAT(memory(b + 1000 * 512, 16 * 512), testing::Each(0));
  range(1, 2, blocks_of_namespace() - 1);
  EXPECT_EQ(status_of(queue, sqe), raw(Status::kLbaRange));
  sqe.data.prp1 = 0x1000;
  EXPECT_EQ(status_of(queue, sqe), raw(Status::kDataTransferError));
  range(0, 1, 0);
  sqe.data = {ranges, 0};
  sqe.cdw10 = 255;
  for (u64 i = 0; i < 256; ++i) range(i, 1, i * 2);
  EXPECT_EQ(status_of(queue, sqe), 0);
}

TEST_P(NvmeIo, faults_end_commands_not_the_controller) {
  EXPECT_EQ(read(0, 8, 0x1000), raw(Status::kDataTransferError));
  EXPECT_EQ(write(0, 8, 0x1000), raw(Status::kDataTransferError));
  EXPECT_EQ(status_of(queue, io(IoOpcode::kRead, 0, 32, a, 0x1000)), raw(Status::kDataTransferError));
  EXPECT_EQ(status_of(queue, io(IoOpcode::kRead, 0, 1, a + 1)), raw(Status::kPrpOffset));
  EXPECT_EQ(status_of(queue, io(IoOpcode::kRead, 0, 16, a)), raw(Status::kInvalidField));  // no PRP2
  EXPECT_EQ(read(0, 8, a), 0);
}

// AWUPF is 0: a write of one block is all or nothing, also when half of its data can be reached.
TEST_P(NvmeIo, a_block_is_written_whole_or_not_at_all) {
  fill(a, 512, 1);
  ASSERT_EQ(write(3, 1, a), 0);
  fill(b, kPageSize, 2);
  EXPECT_EQ(status_of(queue, io(IoOpcode::kWrite, 3, 1, b + kPageSize - 256, 0x1000)), raw(Status::kDataTransferError));
  ASSERT_EQ(read(3, 1, b), 0);
  EXPECT_TRUE(same(a, b, 512));
}

TEST_P(NvmeIo, scatter_gather_lists) {
  fill(a, 4096, 8);
  const u64 segment = allocate(4096);
  const auto descriptor = [&](u64 i, u64 address, u32 length, u8 id) {
    store(segment + i * 16, address);
    store(segment + i * 16 + 8, u64{length} | u64{id} << 56);
  };
  descriptor(0, a, 1000, 0);
  descriptor(1, a + 1000, 3096, 0);
  Sqe sqe = io(IoOpcode::kWrite, 0, 8, segment, 32 | u64{0x30} << 56);
  for (const u8 psdt : {0x40, 0x80}) {
    sqe.flags = psdt;
    ASSERT_EQ(status_of(queue, sqe), 0);
  }
  ASSERT_EQ(read(0, 8, b), 0);
  EXPECT_TRUE(same(a, b, 4096));
  sqe.data.prp2 = 24 | u64{0x30} << 56;
  EXPECT_EQ(status_of(queue, sqe), raw(Status::kSglSegment));
  TearDown();
  config.sgl = false;
  create();
  sqe.data.prp2 = 32 | u64{0x30} << 56;
  EXPECT_EQ(status_of(queue, sqe), raw(Status::kInvalidField));
}

TEST_P(NvmeIo, write_protection) {
  TearDown();
  config.protection = Protection::kReadOnly;
  create();
  EXPECT_EQ(write(0, 1, a), raw(Status::kWriteProtected));
  EXPECT_EQ(status_of(queue, io(IoOpcode::kWriteZeroes, 0, 1, 0)), raw(Status::kWriteProtected));
  EXPECT_EQ(status_of(queue, command(IoOpcode::kDatasetManagement, 1)), raw(Status::kWriteProtected));
  EXPECT_EQ(read(0, 1, a), 0);
  EXPECT_EQ(status_of(queue, command(IoOpcode::kFlush, 1)), 0);
}

TEST_P(NvmeIo, a_full_queue_of_commands_and_one_interrupt_per_batch) {
  irq.take();
  for (u32 round = 0; round < 10; ++round) {
    for (u16 i = 0; i < 63; ++i) {
      Sqe sqe = io(IoOpcode::kWrite, i, 1, a);
      sqe.cid = i;
      put(queue, sqe);
    }
    ring_tail(queue);
    std::array<bool, 63> seen{};
    for (int i = 0; i < 63; ++i) {
      const Outcome outcome = wait(queue);
      EXPECT_EQ(outcome.status, 0);
      ASSERT_LT(outcome.cid, 63);
      EXPECT_FALSE(std::exchange(seen[outcome.cid], true));
    }
    EXPECT_EQ(queue.sq_head, queue.tail);
  }
  const auto vectors = irq.take();
  EXPECT_EQ(vectors.size(), 1u);
  EXPECT_GE(vectors.at(0), 10);
  EXPECT_LT(vectors.at(0), 600);
}

TEST_P(NvmeIo, a_full_completion_queue_holds_commands_back) {
  Pair small{.id = 2, .size = 4, .sq = allocate(64 * 64), .cq = allocate(4096)};
  ASSERT_EQ(admin_status(create_cq(2, 4, small.cq, 7)), 0);
  ASSERT_EQ(admin_status(create_sq(2, 64, small.sq, 2)), 0);
  irq.take();
  for (u16 i = 0; i < 20; ++i) {
    Sqe sqe = io(IoOpcode::kRead, 0, 1, a);
    sqe.cid = i;
    store(small.sq + u64{i} * 64, sqe);
  }
  set(doorbell_offset(4), 20);
  for (int i = 0; i < 1000; ++i) controller->poll();
  EXPECT_EQ(load<Cqe>(small.cq + 3 * 16).status, 0);  // a ring of 4 holds 3
  std::array<bool, 20> seen{};
  seen.at(wait(small).cid) = true;
  EXPECT_LE(small.sq_head, 3);  // no more were fetched than there was room for
  for (u16 i = 1; i < 20; ++i) seen.at(wait(small).cid) = true;
  EXPECT_THAT(seen, testing::Each(true));
  EXPECT_TRUE(irq.take().contains(7));
}

TEST_P(NvmeIo, a_queue_is_deleted_under_load) {
  for (int round = 0; round < 20; ++round) {
    for (u16 i = 0; i < 60; ++i) put(queue, io(IoOpcode::kWrite, i, 8, a));
    ring_tail(queue);
    ASSERT_EQ(admin_status(delete_queue(AdminOpcode::kDeleteSq, 1)), 0);
    ASSERT_EQ(admin_status(delete_queue(AdminOpcode::kDeleteCq, 1)), 0);
    const auto after = dma.memory;
    for (int i = 0; i < 50; ++i) controller->poll();
    EXPECT_EQ(after, dma.memory);
    std::ranges::fill(memory(queue.cq, 1024), u8{0});
    queue = {.id = 1, .size = 64, .sq = queue.sq, .cq = queue.cq};
    ASSERT_EQ(admin_status(create_cq(1, 64, queue.cq)), 0);
    ASSERT_EQ(admin_status(create_sq(1, 64, queue.sq, 1)), 0);
  }
}

// Who sees that a queue is deleted has seen all of its completions.
TEST_P(NvmeIo, completions_are_there_before_that_of_the_deletion) {
  const auto completed = [&] {
    int num = 0;
    for (u64 i = 0; i < queue.size; ++i) num += load<Cqe>(queue.cq + i * 16).status & 1;
    return num;
  };
  for (u16 i = 0; i < 40; ++i) put(queue, io(IoOpcode::kWrite, i * 8, 8, a));
  ring_tail(queue);
  // The poller's thread may look at both doorbells at once, and then fetches nothing of a queue that it deletes.
  ASSERT_TRUE(soon([&] { return completed() > 0; }));
  put(admin, delete_queue(AdminOpcode::kDeleteSq, 1));
  ring_tail(admin);
  const u64 deleted = admin.cq + u64{admin.head} * 16;
  int then = -1;
  dma.during = [&] {
    if (then < 0 && (load<Cqe>(deleted).status & 1) == admin.phase) then = completed();
  };
  ASSERT_EQ(wait(admin).status, 0);
  for (int i = 0; i < 20; ++i) controller->poll();
  dma.during = [] {};
  EXPECT_TRUE(then < 0 || then == completed()) << then << " of " << completed();
  EXPECT_GE(completed(), 32);  // what had been fetched
}

TEST_P(NvmeIo, nothing_moves_after_disable_or_reset) {
  for (int round = 0; round < 20; ++round) {
    for (u16 i = 0; i < 60; ++i) put(queue, io(i % 2 ? IoOpcode::kRead : IoOpcode::kWrite, i, 8, a));
    ring_tail(queue);
    if (round % 3 == 0) controller->poll();
    if (round % 2 == 0) {
      controller->reset();
    } else {
      ASSERT_TRUE(disable());
    }
    irq.take();
    const auto after = dma.memory;
    for (int i = 0; i < 50; ++i) controller->poll();
    EXPECT_EQ(after, dma.memory);
    EXPECT_TRUE(irq.take().empty());
    ASSERT_TRUE(enable());
    queue = create_pair(1);
    a = allocate(128 * kPageSize);
  }
}

TEST_P(NvmeIo, shutdown_waits_for_what_is_in_flight) {
  fill(a, 4096, 4);
  for (u16 i = 0; i < 30; ++i) put(queue, io(IoOpcode::kWrite, i * 8, 8, a));
  ring_tail(queue);
  EXPECT_EQ(wait(queue).status, 0);  // they were fetched; what was not is not served any more
  set(reg::kCc, kCcEnable | 1 << 14);
  ASSERT_TRUE(soon([&] { return (get(reg::kCsts) & csts::kShutdownMask) == csts::kShutdownComplete; }));
  if (!file.valid()) return;
  std::array<u8, 4096> stored{};
  EXPECT_EQ(::pread(file.get(), stored.data(), stored.size(), 0), 4096);
  EXPECT_TRUE(std::ranges::equal(stored, memory(a, 4096)));
}

// The file's jobs use memory of the commands, until they are over.
TEST_P(NvmeIo, the_end_of_the_controller_waits_for_what_is_in_flight) {
  for (u16 i = 0; i < 60; ++i) put(queue, io(i % 2 ? IoOpcode::kRead : IoOpcode::kWrite, i * 8, 8, a));
  ring_tail(queue);
  controller->poll();
  TearDown();
}

TEST_P(NvmeIo, data_is_counted) {
  ASSERT_EQ(write(0, 1024, a), 0);
  ASSERT_EQ(read(0, 1024, a), 0);
  ASSERT_EQ(read(0, 1024, a), 0);
  Sqe log = command(AdminOpcode::kGetLogPage, kAllNamespaces);
  log.cdw10 = 2 | 127 << 16;
  log.data.prp1 = b;
  ASSERT_EQ(admin_status(log), 0);
  EXPECT_EQ(load<u64>(b + 32), 3u);
  EXPECT_EQ(load<u64>(b + 48), 2u);
  EXPECT_EQ(load<u64>(b + 64), 2u);
  EXPECT_EQ(load<u64>(b + 80), 1u);
}

TEST_P(NvmeIo, a_file_that_shrank_gives_errors) {
  if (!file.valid()) return;
  ASSERT_EQ(::ftruncate(file.get(), 4096), 0);
  EXPECT_EQ(read(0, 8, a), 0);
  EXPECT_EQ(read(8, 8, a), raw(Status::kReadError));
}

}  // namespace
}  // namespace iommufd::models::nvme

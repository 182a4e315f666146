// SPDX-License-Identifier: BSD-3-Clause
// A client that does everything in random order, right and wrong, with an oracle for the data: several queues of several sizes,
// PRP lists across holes in memory, faults, queues deleted under load, disable and reset with commands in flight, doorbells
// out of range. Blocks that a failed or an abandoned write may have touched are not compared until they are written again.
#include <stdlib.h>
#include <unistd.h>

#include <random>
#include <unordered_map>

#include "models/nvme/file_store.hpp"
#include "tests/unit/models/nvme_fixture.hpp"

namespace iommufd::models::nvme {
namespace {

enum class Medium { kMemory, kFile };

class NvmeRandom : public NvmeTest, public testing::WithParamInterface<Medium> {
 protected:
  static constexpr u32 kBlocks = 128, kMostBlocks = 24, kPairs = 3;
  static constexpr u32 kBuffers = 40;  // of kMostBlocks blocks, one for each command in flight
  static constexpr u64 kBufferSize = 16 * kPageSize;

  struct Pending {
    IoOpcode opcode;
    u64 block;
    u32 blocks;
    u32 buffer;
    bool valid;  // it must succeed
    u8 pattern;
  };
  // What a block holds: one byte, repeated; nothing: not known.
  using Oracle = std::array<std::optional<u8>, kBlocks>;

  void SetUp() override {
    config.namespace_size = 128 << 10;  // 256 blocks; the upper half is never written
    std::unique_ptr<Store> store;
    if (GetParam() == Medium::kFile) {
      char path[] = "/tmp/nvme_random_XXXXXX";
      Fd file(::mkstemp(path));
      ASSERT_TRUE(file.valid());
      ::unlink(path);
      ASSERT_EQ(::ftruncate(file.get(), static_cast<off_t>(config.namespace_size)), 0);
      store = std::make_unique<FileStore>(std::move(file), Engine::kUring, [](std::string_view) {});
    }
    make(std::move(store));
    map_bar();
    oracle.fill(u8{0});
    begin();
  }

  u32 pick(u32 n) { return static_cast<u32>(random() % n); }

  void begin() {
    ASSERT_TRUE(enable());
    buffers = allocate(kBuffers * kBufferSize);
    lists = allocate(kBuffers * kPageSize);
    free_buffers.clear();
    for (u32 i = 0; i < kBuffers; ++i) free_buffers.push_back(i);
    for (u32 i = 0; i < kPairs; ++i) pairs[i] = create_pair(i + 1, 4 + pick(28));
  }

  // The pages of a buffer in an order of its own, so that neighbours are rarely contiguous.
  u64 page_of(u32 buffer, u32 page) const {
    return buffers + buffer * kBufferSize + u64{(page * 5 + buffer) % 16} * kPageSize;
  }
  u8& byte_of(u32 buffer, u32 offset, u32 at) {
    const u32 position = offset + at;
    return memory(page_of(buffer, position / 4096) + position % 4096, 1)[0];
  }

  Sqe with_data(Sqe sqe, u32 buffer, u32 bytes) {
    const u32 pages = (bytes + 4095) / 4096;
    sqe.data = {page_of(buffer, 0), pages > 1 ? page_of(buffer, 1) : random()};
    if (pages > 2) {
      // Sometimes at the very end of the list page, so that its last slot is an entry or a link.
      u64 slot = pick(2) != 0 ? 512 - (pages - 1) : pick(256);
      sqe.data.prp2 = lists + buffer * kPageSize + slot * 8;
      for (u32 page = 1; page < pages; ++page) store(lists + buffer * kPageSize + slot++ * 8, page_of(buffer, page));
    }
    return sqe;
  }

  bool touches(const Pending& a, u64 block, u32 blocks) const {
    return a.block < block + blocks && block < a.block + a.blocks;
  }

  void submit() {
    const u32 which = pick(kPairs);
    Pair& pair = pairs[which];
    if (free_buffers.empty() || in_flight[which].size() + 2 > pair.size) return;
    Pending p{.opcode = IoOpcode::kRead,
              .block = pick(kBlocks - kMostBlocks),
              .blocks = 1 + pick(kMostBlocks),
              .buffer = free_buffers.back(),
              .valid = true,
              .pattern = static_cast<u8>(random())};
    static constexpr std::array kOpcodes{
        IoOpcode::kRead,        IoOpcode::kRead,  IoOpcode::kWrite,   IoOpcode::kWrite,
        IoOpcode::kWriteZeroes, IoOpcode::kFlush, IoOpcode::kCompare, IoOpcode::kDatasetManagement};
    p.opcode = kOpcodes[pick(kOpcodes.size())];
    // The order of commands that overlap is nobody's promise: there are none.
    for (const auto& queue : in_flight)
      for (const auto& [cid, other] : queue)
        if (other.opcode != IoOpcode::kFlush && touches(other, p.block, p.blocks)) return;
    free_buffers.pop_back();
    const u32 bytes = p.blocks * 512;
    Sqe sqe = with_data(io(p.opcode, p.block, p.blocks, 0), p.buffer, bytes);
    switch (p.opcode) {
      case IoOpcode::kWrite:
        for (u32 i = 0; i < bytes; ++i) byte_of(p.buffer, 0, i) = p.pattern;
        break;
      case IoOpcode::kCompare:
        for (u32 i = 0; i < bytes; ++i) {
          const auto known = oracle[p.block + i / 512];
          p.valid &= known.has_value();
          byte_of(p.buffer, 0, i) = known.value_or(0);
        }
        break;
      case IoOpcode::kDatasetManagement:
        sqe = command(p.opcode, 1);
        sqe.data.prp1 = page_of(p.buffer, 0);
        sqe.cdw11 = 4;
        store(sqe.data.prp1 + 4, p.blocks);
        store(sqe.data.prp1 + 8, p.block);
        break;
      default: break;
    }
    if (pick(8) == 0) spoil(sqe, p);
    if (changes(p.opcode) && !p.valid) forget_blocks(p);
    sqe.cid = static_cast<u16>(1 + p.buffer + which * 1000);
    in_flight[which][sqe.cid] = p;
    put(pair, sqe);
    if (pick(3) != 0) ring_tail(pair);
  }

  static bool changes(IoOpcode opcode) {
    return opcode == IoOpcode::kWrite || opcode == IoOpcode::kWriteZeroes || opcode == IoOpcode::kDatasetManagement;
  }

  // Makes a command wrong.
  void spoil(Sqe& sqe, Pending& p) {
    p.valid = false;
    switch (pick(8)) {
      case 0: sqe.nsid = pick(2) != 0 ? 0 : 2; break;
      case 1: sqe.flags = static_cast<u8>(random() | 1); break;
      case 2: sqe.data.prp1 = random(); break;
      case 3: sqe.data.prp2 = random(); break;
      case 4: sqe.cdw11 = static_cast<u32>(random()) | 0x100; break;
      case 5: sqe.cdw12 = 0x400 + pick(0x7000); break;  // beyond MDTS and the namespace
      case 6: sqe.opcode = static_cast<u8>(0x10 + pick(0xe0)); break;
      case 7: sqe.data.prp1 = test::FakeDma::kBase + kMemory - 512 * pick(8); break;
    }
  }
  void forget_blocks(const Pending& p) {
    for (u32 i = 0; i < p.blocks; ++i) oracle[p.block + i] = std::nullopt;
  }

  void collect() {
    const u32 which = pick(kPairs);
    const auto outcome = take(pairs[which]);
    if (!outcome) return;
    const auto it = in_flight[which].find(outcome->cid);
    ASSERT_NE(it, in_flight[which].end()) << outcome->cid;
    const Pending p = it->second;
    in_flight[which].erase(it);
    free_buffers.push_back(p.buffer);
    if (!p.valid) {
      ++failed;
      return;
    }
    ASSERT_EQ(outcome->status, 0) << static_cast<int>(p.opcode);
    ++succeeded;
    if (p.opcode == IoOpcode::kRead) {
      for (u32 i = 0; i < p.blocks * 512; ++i) {
        const auto known = oracle[p.block + i / 512];
        if (!known) continue;
        ASSERT_EQ(byte_of(p.buffer, 0, i), *known) << p.block << " + " << i;
      }
    } else if (changes(p.opcode)) {
      const u8 now = p.opcode == IoOpcode::kWrite ? p.pattern : u8{0};
      for (u32 i = 0; i < p.blocks; ++i) oracle[p.block + i] = now;
    }
  }

  // Everything that was in flight may or may not have happened.
  void abandon(u32 which) {
    for (const auto& [cid, p] : in_flight[which]) {
      free_buffers.push_back(p.buffer);
      if (changes(p.opcode)) forget_blocks(p);
    }
    in_flight[which].clear();
  }

  void disturb() {
    switch (pick(6)) {
      case 0: {
        const u32 which = pick(kPairs);
        ASSERT_EQ(admin_status(delete_queue(AdminOpcode::kDeleteSq, which + 1)), 0);
        ASSERT_EQ(admin_status(delete_queue(AdminOpcode::kDeleteCq, which + 1)), 0);
        abandon(which);
        Pair& pair = pairs[which];
        pair = {.id = pair.id, .size = pair.size, .sq = pair.sq, .cq = pair.cq};
        std::ranges::fill(memory(pair.cq, pair.size * 16), u8{0});
        ASSERT_EQ(admin_status(create_cq(pair.id, pair.size, pair.cq)), 0);
        ASSERT_EQ(admin_status(create_sq(pair.id, pair.size, pair.sq, pair.id)), 0);
        break;
      }
      case 1:
      case 2:
        if (pick(4) != 0) break;
        if (pick(2) != 0) {
          controller->reset();
        } else {
          ASSERT_TRUE(disable());
        }
        for (u32 i = 0; i < kPairs; ++i) abandon(i);
        begin();
        break;
      case 3: set(doorbell_offset(pick(150)), 0x8000 + pick(0x7000)); break;
      case 4: set(doorbell_offset(8 + pick(100)), pick(0x10000)); break;
      case 5: admin_status(command(pick(256) | 0x80)); break;
    }
  }

  std::mt19937_64 random{1};
  Oracle oracle;
  std::array<Pair, kPairs> pairs;
  std::array<std::unordered_map<u16, Pending>, kPairs> in_flight;
  std::vector<u32> free_buffers;
  u64 buffers = 0, lists = 0;
  u64 succeeded = 0, failed = 0;
};
std::string medium_name(const testing::TestParamInfo<Medium>& info) {
  return info.param == Medium::kFile ? "file" : "memory";
}
INSTANTIATE_TEST_SUITE_P(Medium, NvmeRandom, testing::Values(Medium::kMemory, Medium::kFile), medium_name);

TEST_P(NvmeRandom, data_survives_everything) {
  for (u32 step = 0; step < 1'000'000 && (succeeded < 6'000 || failed < 600) && !HasFatalFailure(); ++step) {
    submit();
    for (u32 i = pick(3); i > 0; --i) collect();
    if (pick(4) == 0) controller->poll();
    for (Pair& pair : pairs) {
      if (pick(8) == 0) ring_tail(pair);
    }
    if (pick(200) == 0) disturb();
  }
  EXPECT_GE(succeeded, 6'000u);
  EXPECT_GE(failed, 600u);
  EXPECT_EQ(get(reg::kCsts), csts::kReady);
}

}  // namespace
}  // namespace iommufd::models::nvme

// SPDX-License-Identifier: BSD-3-Clause
// PRP entries and SGLs (spec nvme 7).
#include "models/nvme/data_pointer.hpp"

#include <array>
#include <random>

#include "tests/support/fake_device.hpp"

namespace iommufd::models::nvme {
namespace {

class DataPointers : public testing::Test {
 protected:
  static constexpr u64 kBase = test::FakeDma::kBase;
  void entries(u64 at, std::initializer_list<u64> values) {
    std::memcpy(dma.memory.data() + (at - kBase), std::data(values), values.size() * 8);
  }
  struct Descriptor {
    u64 address;
    u32 length;
    u8 id;
  };
  static DataPointer packed(const Descriptor& d) { return {d.address, u64{d.length} | u64{d.id} << 56}; }
  void segment(u64 at, std::initializer_list<Descriptor> values) {
    for (const Descriptor& d : values) {
      const DataPointer words = packed(d);
      entries(at, {words.prp1, words.prp2});
      at += 16;
    }
  }
  Step prp(u64 prp1, u64 prp2, std::size_t size) {
    out.clear();
    return walker.walk_prp({prp1, prp2}, std::span(bytes).first(size), out);
  }
  Step sgl(const Descriptor& d, std::size_t size, Direction direction = Direction::kToDevice) {
    out.clear();
    return walker.walk_sgl(packed(d), std::span(bytes).first(size), direction, out);
  }
  // "address+length" of each piece; and that they cover `bytes` without a gap is checked on the way.
  std::vector<std::pair<u64, u64>> pieces() {
    std::vector<std::pair<u64, u64>> list;
    for (const auto& piece : out.pieces()) list.emplace_back(piece.addr, piece.bytes.size());
    return list;
  }
  using List = std::vector<std::pair<u64, u64>>;
  static Status error(const Step& step) { return step ? Status::kSuccess : step.error(); }

  test::FakeDma dma;
  DataPointerWalker walker{dma};
  PieceList out;
  std::vector<std::byte> bytes = std::vector<std::byte>(600 * 1024);
};

TEST_F(DataPointers, one_page_ignores_prp2) {
  for (const u64 stale : {u64{0}, u64{1}, ~u64{0}}) {
    ASSERT_TRUE(prp(0x5004, stale, 4092));
    EXPECT_EQ(pieces(), (List{{0x5004, 4092}}));
  }
}

TEST_F(DataPointers, two_pages_need_prp2) {
  ASSERT_TRUE(prp(0x5800, 0x9000, 4096));
  EXPECT_EQ(pieces(), (List{{0x5800, 2048}, {0x9000, 2048}}));
  EXPECT_EQ(error(prp(0x5800, 0, 4096)), Status::kInvalidField);
  EXPECT_EQ(error(prp(0x5800, 0x9004, 4096)), Status::kPrpOffset);
  EXPECT_EQ(error(prp(0x5802, 0x9000, 4096)), Status::kPrpOffset);
}

TEST_F(DataPointers, pages_that_follow_each_other_become_one_piece) {
  ASSERT_TRUE(prp(0x5800, 0x6000, 4096));
  EXPECT_EQ(pieces(), (List{{0x5800, 4096}}));
}

TEST_F(DataPointers, a_list_may_begin_inside_a_page) {
  entries(kBase + 8, {0x20000, 0x30000});
  ASSERT_TRUE(prp(0x5000, kBase + 8, 3 * 4096));
  EXPECT_EQ(pieces(), (List{{0x5000, 4096}, {0x20000, 4096}, {0x30000, 4096}}));
  EXPECT_EQ(error(prp(0x5000, kBase + 4, 3 * 4096)), Status::kPrpOffset);
  entries(kBase + 8, {0x20000, 0x30008});
  EXPECT_EQ(error(prp(0x5000, kBase + 8, 3 * 4096)), Status::kPrpOffset);
  EXPECT_EQ(error(prp(0x5000, 0x1000, 3 * 4096)), Status::kDataTransferError);
}

TEST_F(DataPointers, the_last_slot_is_a_link_only_if_more_entries_follow) {
  const u64 list = kBase + kPageSize - 16;
  entries(list, {0x20000, 0x30000});
  ASSERT_TRUE(prp(0x5000, list, 3 * 4096));
  EXPECT_EQ(pieces(), (List{{0x5000, 4096}, {0x20000, 4096}, {0x30000, 4096}}));
  entries(list, {0x20000, kBase + 2 * kPageSize});
  entries(kBase + 2 * kPageSize, {0x40000, 0x60000});
  ASSERT_TRUE(prp(0x5000, list, 4 * 4096));
  EXPECT_EQ(pieces(), (List{{0x5000, 4096}, {0x20000, 4096}, {0x40000, 4096}, {0x60000, 4096}}));
  entries(list, {0x20000, kBase + 2 * kPageSize + 8});  // a link points to the begin of a page
  EXPECT_EQ(error(prp(0x5000, list, 4 * 4096)), Status::kPrpOffset);
}

TEST_F(DataPointers, larger_pages) {
  walker.set_page_lg2(14);
  ASSERT_TRUE(prp(0x5000, 0x8000, 0x6000));
  EXPECT_EQ(pieces(), (List{{0x5000, 0x6000}}));
  EXPECT_EQ(error(prp(0x5000, 0x9000, 0x6000)), Status::kPrpOffset);
}

TEST_F(DataPointers, sgl_of_one_block) {
  ASSERT_TRUE(sgl({0x5001, 4096, 0x00}, 4096));
  EXPECT_EQ(pieces(), (List{{0x5001, 4096}}));
  EXPECT_EQ(error(sgl({0x5000, 4095, 0x00}, 4096)), Status::kSglLength);
  EXPECT_EQ(error(sgl({0x5000, 4097, 0x00}, 4096)), Status::kSglLength);
  EXPECT_EQ(error(sgl({0x5000, 4096, 0x01}, 4096)), Status::kSglType);
  EXPECT_EQ(error(sgl({0x5000, 4096, 0x40}, 4096)), Status::kSglType);
}

TEST_F(DataPointers, sgl_of_segments) {
  segment(kBase, {{0x20000, 1000, 0x00}, {kBase + 0x1000, 32, 0x30}});
  segment(kBase + 0x1000, {{0x30000, 3000, 0x00}, {0x40000, 96, 0x00}});
  ASSERT_TRUE(sgl({kBase, 32, 0x20}, 4096));
  EXPECT_EQ(pieces(), (List{{0x20000, 1000}, {0x30000, 3000}, {0x40000, 96}}));
  ASSERT_TRUE(sgl({kBase + 0x1000, 32, 0x30}, 3096));
  EXPECT_EQ(error(sgl({kBase, 32, 0x30}, 4096)), Status::kSglType);  // a segment inside a last one
  EXPECT_EQ(error(sgl({kBase, 24, 0x20}, 4096)), Status::kSglSegment);
  EXPECT_EQ(error(sgl({kBase, 0, 0x20}, 4096)), Status::kSglSegment);
  EXPECT_EQ(error(sgl({0x1000, 32, 0x20}, 4096)), Status::kDataTransferError);
  EXPECT_EQ(error(sgl({kBase, 32, 0x20}, 5000)), Status::kSglLength);
}

TEST_F(DataPointers, a_segment_whose_last_descriptor_is_data_ends_there) {
  segment(kBase, {{0x20000, 96, 0x00}, {0x30000, 4000, 0x00}});
  EXPECT_TRUE(sgl({kBase, 32, 0x20}, 4096));
}

TEST_F(DataPointers, an_endless_chain_ends) {
  segment(kBase, {{0, 0, 0x00}, {kBase, 32, 0x20}});
  EXPECT_EQ(error(sgl({kBase, 32, 0x20}, 4096)), Status::kSglCount);
  EXPECT_EQ(error(sgl({kBase, 0xfffffff0, 0x20}, 4096)), Status::kSglCount);
}

TEST_F(DataPointers, bit_buckets_swallow_what_is_read) {
  segment(kBase, {{0x20000, 1000, 0x00}, {0, 96, 0x10}, {0x30000, 3000, 0x00}});
  ASSERT_TRUE(sgl({kBase, 48, 0x30}, 4096, Direction::kToHost));
  EXPECT_EQ(pieces(), (List{{0x20000, 1000}, {0x30000, 3000}}));
  EXPECT_EQ(out.pieces()[1].bytes.data(), bytes.data() + 1096);
  ASSERT_TRUE(sgl({kBase, 48, 0x30}, 4000, Direction::kToDevice));
  EXPECT_EQ(out.pieces()[1].bytes.data(), bytes.data() + 1000);
}

TEST_F(DataPointers, random_pointers_never_leave_the_buffer) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 20'000; ++i) {
    for (int k = 0; k < 8; ++k)
      entries(kBase + random() % 1024 * 8, {kBase + random() % 64 * 0x100, u64{random() % 5000} | random() % 4 << 60});
    const std::size_t size = 1 + random() % bytes.size();
    const DataPointer data{kBase + random() % 0x3000, random() % 2 ? kBase + random() % 0x3000 : random()};
    out.clear();
    [[maybe_unused]] const Step step =
        random() % 2 != 0 ? walker.walk_prp(data, std::span(bytes).first(size), out)
                          : walker.walk_sgl(data, std::span(bytes).first(size), Direction::kToHost, out);
    std::size_t sum = 0;
    for (const auto& piece : out.pieces()) {
      EXPECT_GE(piece.bytes.data(), bytes.data());
      EXPECT_LE(piece.bytes.data() + piece.bytes.size(), bytes.data() + size);
      sum += piece.bytes.size();
    }
    EXPECT_LE(sum, size);
  }
}

}  // namespace
}  // namespace iommufd::models::nvme

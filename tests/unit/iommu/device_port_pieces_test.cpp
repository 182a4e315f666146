// SPDX-License-Identifier: BSD-3-Clause
// Transfers in pieces: what arrives, in how many calls, and where a fault is.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <vector>

#include "iommu/device_port.hpp"
#include "iommu/platform.hpp"
#include "mem/address_space.hpp"

namespace iommufd::iommu {
namespace {

// Memory of somebody else: it is reached by calls, which are counted. Pages of it can be closed.
class FarMemory final : public mem::AddressSpace {
 public:
  explicit FarMemory(u64 pages) : bytes(pages * kPageSize) {}
  Result<std::size_t> read_some(UserVa from, std::span<std::byte> buf) override {
    ++calls;
    return copy(from, buf.size(),
                [&](std::size_t done, std::byte* at, std::size_t n) { std::memcpy(buf.data() + done, at, n); });
  }
  Result<std::size_t> write_some(UserVa to, std::span<const std::byte> buf) override {
    ++calls;
    return copy(to, buf.size(),
                [&](std::size_t done, std::byte* at, std::size_t n) { std::memcpy(at, buf.data() + done, n); });
  }
  Result<std::size_t> read_pieces(std::span<const mem::ReadPiece> pieces) override {
    return as_one(pieces, [&] { return AddressSpace::read_pieces(pieces); });
  }
  Result<std::size_t> write_pieces(std::span<const mem::WritePiece> pieces) override {
    return as_one(pieces, [&] { return AddressSpace::write_pieces(pieces); });
  }
  Result<void> populate(UserVa, u64, Access, std::vector<mem::PageRun>&) override { return {}; }
  std::byte* direct(UserVa) override { return nullptr; }

  std::vector<std::byte> bytes;
  std::size_t calls = 0;
  std::size_t most_pieces = 0;
  std::optional<u64> closed_page;

 private:
  template <class Pieces, class Copy>
  Result<std::size_t> as_one(const Pieces& pieces, Copy&& copy) {
    const std::size_t before = calls;
    most_pieces = std::max(most_pieces, pieces.size());
    Result<std::size_t> moved = copy();
    calls = before + 1;
    return moved;
  }
  template <class Move>
  Result<std::size_t> copy(UserVa at, std::size_t size, Move&& move) {
    std::size_t done = 0;
    while (done < size) {
      const u64 va = at.raw() + done;
      if (va / kPageSize == closed_page) break;
      const std::size_t n = std::min<std::size_t>(size - done, kPageSize - va % kPageSize);
      move(done, bytes.data() + va, n);
      done += n;
    }
    return done;
  }
};

class Faults final : public FaultObserver {
 public:
  void dma_fault(const DmaFault& fault) override { seen.push_back({fault.addr, fault.reason}); }
  std::vector<std::pair<u64, FaultReason>> seen;
};

class PiecesTest : public ::testing::Test {
 protected:
  static constexpr u64 kPages = 256;
  PiecesTest() {
    port_.set_bus_master(true);
    pin(*far_, frames_);
    pin(*other_, other_frames_);
    for (std::size_t i = 0; i < far_->bytes.size(); ++i) far_->bytes[i] = pattern(i);
  }
  ~PiecesTest() override {
    platform_->phys().unpin_and_release(frames_);
    platform_->phys().unpin_and_release(other_frames_);
  }
  static std::byte pattern(u64 i) { return static_cast<std::byte>(i * 7 + i / kPageSize); }
  void pin(FarMemory& memory, std::vector<PhysAddr>& frames) {
    frames.resize(kPages);
    platform_->phys().pin(memory, UserVa{0}, {{memory.id(), 0}, kPages}, frames).value();
  }
  // The bus address of a byte of far_.
  [[nodiscard]] u64 bus(u64 offset) const { return frames_[offset / kPageSize].raw() + offset % kPageSize; }

  std::unique_ptr<Platform> platform_ = std::move(*Platform::create({}));
  Faults faults_;
  DevicePort port_{"0000:01:00.0", nullptr, platform_->phys(), &faults_};
  Ref<FarMemory> far_ = make_ref<FarMemory>(kPages);
  Ref<FarMemory> other_ = make_ref<FarMemory>(kPages);
  std::vector<PhysAddr> frames_, other_frames_;
};

TEST_F(PiecesTest, pieces_of_one_memory_move_in_one_call) {
  std::vector<std::byte> ours(40 * 512);
  std::vector<DmaReadPiece> pieces;
  for (u64 i = 0; i < 40; ++i) pieces.push_back({bus(i * 3 * kPageSize + 1024), std::span(ours).subspan(i * 512, 512)});
  ASSERT_TRUE(port_.read_pieces(pieces));
  for (u64 i = 0; i < 40; ++i)
    for (u64 at = 0; at < 512; ++at)
      ASSERT_EQ(ours[i * 512 + at], pattern(i * 3 * kPageSize + 1024 + at)) << i << ' ' << at;
  EXPECT_EQ(far_->calls, 1u);
  EXPECT_EQ(far_->most_pieces, 40u);
}

TEST_F(PiecesTest, a_piece_may_cross_pages_and_pages_that_follow_each_other_are_one) {
  std::vector<std::byte> ours(3 * kPageSize);
  for (std::size_t i = 0; i < ours.size(); ++i) ours[i] = static_cast<std::byte>(i * 13);
  // By virtual address they follow each other, by bus address they need not.
  std::vector<DmaWritePiece> pieces;
  for (u64 i = 0; i < 3; ++i)
    pieces.push_back({bus((5 + i) * kPageSize), std::span<const std::byte>(ours).subspan(i * kPageSize, kPageSize)});
  ASSERT_TRUE(port_.write_pieces(pieces));
  EXPECT_EQ(std::memcmp(far_->bytes.data() + 5 * kPageSize, ours.data(), ours.size()), 0);
  EXPECT_EQ(far_->calls, 1u);
  EXPECT_EQ(far_->most_pieces, 1u);
}

TEST_F(PiecesTest, more_pieces_than_one_call_takes) {
  std::vector<std::byte> ours(200 * 8);
  std::vector<DmaReadPiece> pieces;
  for (u64 i = 0; i < 200; ++i) pieces.push_back({bus(i * kPageSize), std::span(ours).subspan(i * 8, 8)});
  ASSERT_TRUE(port_.read_pieces(pieces));
  for (u64 i = 0; i < 200; ++i) EXPECT_EQ(ours[i * 8], pattern(i * kPageSize));
  EXPECT_EQ(far_->calls, 4u);
}

TEST_F(PiecesTest, two_memories_take_a_call_each) {
  std::array<std::byte, 32> ours{};
  other_->bytes[kPageSize] = std::byte{0x5a};
  const std::array<DmaReadPiece, 2> pieces{
      {{bus(0), std::span(ours).first(16)}, {other_frames_[1].raw(), std::span(ours).last(16)}}};
  ASSERT_TRUE(port_.read_pieces(pieces));
  EXPECT_EQ(ours[0], pattern(0));
  EXPECT_EQ(ours[16], std::byte{0x5a});
  EXPECT_EQ(far_->calls, 1u);
  EXPECT_EQ(other_->calls, 1u);
}

TEST_F(PiecesTest, a_fault_says_where) {
  std::array<std::byte, 96> ours{};
  const auto third = [&](std::size_t i) { return std::span(ours).subspan(i * 32, 32); };
  // Nothing is pinned there: the pieces before it arrive.
  const u64 nowhere = u64{1} << 45;
  ASSERT_FALSE(
      port_.read_pieces(std::array<DmaReadPiece, 3>{{{bus(0), third(0)}, {nowhere, third(1)}, {bus(64), third(2)}}}));
  EXPECT_EQ(ours[31], pattern(31));
  EXPECT_EQ(ours[64], std::byte{0});
  ASSERT_EQ(faults_.seen.size(), 1u);
  EXPECT_EQ(faults_.seen[0], (std::pair<u64, FaultReason>{nowhere, FaultReason::kNotPinned}));
  // The page is there, but the memory behind it is not: the second piece.
  faults_.seen.clear();
  far_->closed_page = 7;
  const u64 end = 7 * kPageSize;
  ASSERT_FALSE(
      port_.read_pieces(std::array<DmaReadPiece, 3>{{{bus(0), third(0)}, {bus(end), third(1)}, {bus(64), third(2)}}}));
  ASSERT_EQ(faults_.seen.size(), 1u);
  EXPECT_EQ(faults_.seen[0], (std::pair<u64, FaultReason>{bus(end), FaultReason::kMemoryGone}));
}

TEST_F(PiecesTest, bus_mastering_off_and_nothing_to_do) {
  std::array<std::byte, 8> ours{};
  EXPECT_TRUE(port_.read_pieces({}));
  port_.set_bus_master(false);
  EXPECT_FALSE(port_.read_pieces(std::array<DmaReadPiece, 1>{{{bus(0), ours}}}));
  ASSERT_EQ(faults_.seen.size(), 1u);
  EXPECT_EQ(faults_.seen[0].second, FaultReason::kBusMasterOff);
}

}  // namespace
}  // namespace iommufd::iommu

// SPDX-License-Identifier: BSD-3-Clause
// Transfers to memory that we touch ourselves and that its owner can take away: what arrives, and where a fault is.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "iommu/device_port.hpp"
#include "iommu/platform.hpp"
#include "mem/file_space.hpp"
#include "mem/guarded_copy.hpp"

namespace iommufd::iommu {
namespace {

class Faults final : public FaultObserver {
 public:
  void dma_fault(const DmaFault& fault) override { seen.push_back({fault.addr, fault.reason}); }
  std::vector<std::pair<u64, FaultReason>> seen;
};

// A file's pages; their frames are neighbours, or not.
class DirectTest : public ::testing::TestWithParam<mem::PhysPolicy::Kind> {
 protected:
  static constexpr u64 kPages = 8;
  void SetUp() override {
    if (!mem::enable_guarded_copies()) GTEST_SKIP() << "not written for this processor";
    cut(kPages);
    std::vector<mem::PageRun> runs;
    frames_.resize(kPages);
    ASSERT_TRUE(file_->populate(UserVa{0}, kPages, Access::kReadWrite, runs));
    ASSERT_TRUE(platform_->phys().pin(*file_, UserVa{0}, runs.front(), frames_));
    port_.set_bus_master(true);
  }
  void TearDown() override { platform_->phys().unpin_and_release(frames_); }

  [[nodiscard]] u64 bus(u64 offset) const { return frames_[offset / kPageSize].raw() + offset % kPageSize; }
  void cut(u64 pages) { ASSERT_EQ(::ftruncate(fd_.get(), static_cast<off_t>(pages * kPageSize)), 0); }
  // Pieces of a page each, for file bytes [offset, offset + bytes.size()).
  template <class Piece, class Bytes>
  [[nodiscard]] std::vector<Piece> by_pages(u64 offset, Bytes bytes) const {
    std::vector<Piece> out;
    while (!bytes.empty()) {
      const std::size_t n = std::min<std::size_t>(bytes.size(), kPageSize - offset % kPageSize);
      out.push_back({bus(offset), bytes.first(n)});
      bytes = bytes.subspan(n);
      offset += n;
    }
    return out;
  }
  Result<void> write(u64 offset, std::span<const std::byte> bytes) {
    return port_.write_pieces(by_pages<DmaWritePiece>(offset, bytes));
  }
  Result<void> read(u64 offset, std::span<std::byte> bytes) {
    return port_.read_pieces(by_pages<DmaReadPiece>(offset, bytes));
  }
  [[nodiscard]] std::byte in_file(u64 offset) const {
    std::byte b{0xff};
    EXPECT_EQ(::pread(fd_.get(), &b, 1, static_cast<off_t>(offset)), 1);
    return b;
  }

  const Fd fd_{::memfd_create("direct", MFD_CLOEXEC)};
  Ref<mem::FileSpace> file_ = make_ref<mem::FileSpace>(Fd(::fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0)));
  std::unique_ptr<Platform> platform_ = std::move(*Platform::create({.kind = GetParam()}));
  Faults faults_;
  DevicePort port_{"0000:01:00.0", nullptr, platform_->phys(), &faults_};
  std::vector<PhysAddr> frames_;
  std::vector<std::byte> ones_ = std::vector<std::byte>(kPages * kPageSize, std::byte{1});
};

TEST_P(DirectTest, bytes_arrive_and_come_back) {
  std::vector<std::byte> ours(kPages * kPageSize), back(ours.size());
  for (std::size_t i = 0; i < ours.size(); ++i) ours[i] = static_cast<std::byte>(i * 13 + i / kPageSize);
  ASSERT_TRUE(write(0, ours));
  for (const u64 at : {u64{0}, kPageSize - 1, kPageSize, kPages * kPageSize - 1}) EXPECT_EQ(in_file(at), ours[at]);
  ASSERT_TRUE(read(0, back));
  EXPECT_EQ(back, ours);
  // Part of a page to part of another one.
  ASSERT_TRUE(write(kPageSize - 100, std::span(ones_).first(kPageSize + 200)));
  EXPECT_EQ(in_file(kPageSize - 101), ours[kPageSize - 101]);
  EXPECT_EQ(in_file(kPageSize - 100), std::byte{1});
  EXPECT_EQ(in_file(2 * kPageSize + 99), std::byte{1});
  EXPECT_EQ(in_file(2 * kPageSize + 100), ours[2 * kPageSize + 100]);
}

TEST_P(DirectTest, a_fault_is_at_the_first_byte_that_is_gone) {
  cut(3);
  EXPECT_FALSE(write(kPageSize + 8, std::span(ones_).first(4 * kPageSize)));
  ASSERT_EQ(faults_.seen.size(), 1u);
  EXPECT_EQ(faults_.seen[0], (std::pair{bus(3 * kPageSize), FaultReason::kMemoryGone}));
  EXPECT_EQ(in_file(kPageSize + 7), std::byte{0});
  EXPECT_EQ(in_file(kPageSize + 8), std::byte{1});
  EXPECT_EQ(in_file(3 * kPageSize - 1), std::byte{1});
  std::vector<std::byte> back(2 * kPageSize);
  EXPECT_FALSE(read(2 * kPageSize, back));
  ASSERT_EQ(faults_.seen.size(), 2u);
  EXPECT_EQ(faults_.seen[1], (std::pair{bus(3 * kPageSize), FaultReason::kMemoryGone}));
  EXPECT_EQ(back[kPageSize - 1], std::byte{1});
  EXPECT_EQ(back[kPageSize], std::byte{0});
  // The next transaction begins anew.
  EXPECT_TRUE(write(0, std::span(ones_).first(8)));
  cut(kPages);
  EXPECT_TRUE(write(0, ones_));
  EXPECT_EQ(in_file(kPages * kPageSize - 1), std::byte{1});
}

TEST_P(DirectTest, what_is_not_pinned_ends_a_transaction_behind_what_came_before) {
  const u64 nowhere = u64{1} << 45;
  EXPECT_FALSE(
      port_.write_pieces(std::array<DmaWritePiece, 3>{{{bus(0), std::span<const std::byte>(ones_).first(64)},
                                                       {nowhere, std::span<const std::byte>(ones_).first(64)},
                                                       {bus(64), std::span<const std::byte>(ones_).first(64)}}}));
  ASSERT_EQ(faults_.seen.size(), 1u);
  EXPECT_EQ(faults_.seen[0], (std::pair{nowhere, FaultReason::kNotPinned}));
  EXPECT_EQ(in_file(63), std::byte{1});
  EXPECT_EQ(in_file(64), std::byte{0});
}

TEST_P(DirectTest, racing_the_owner) {
  std::atomic<bool> stop{false};
  std::atomic<u64> cuts{0};
  std::thread owner([&] {
    for (; !stop.load(); ++cuts) cut(cuts % (kPages + 1));
  });
  u64 good = 0;
  for (u64 i = 0; cuts < 10000 || i < 1000; ++i) {
    if (write(0, ones_)) ++good;
    std::array<std::byte, 8> word{};
    if (read(i % kPages * kPageSize, word)) ++good;
  }
  stop = true;
  owner.join();
  for (const auto& [addr, reason] : faults_.seen) ASSERT_EQ(reason, FaultReason::kMemoryGone);
  EXPECT_GT(good, 0u);
  cut(kPages);
  EXPECT_TRUE(write(0, ones_));
}

INSTANTIATE_TEST_SUITE_P(frames, DirectTest,
                         ::testing::Values(mem::PhysPolicy::Kind::kFragmented, mem::PhysPolicy::Kind::kContiguous),
                         [](const auto& info) {
                           return info.param == mem::PhysPolicy::Kind::kContiguous ? "neighbours" : "scattered";
                         });

}  // namespace
}  // namespace iommufd::iommu

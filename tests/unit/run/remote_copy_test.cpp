// SPDX-License-Identifier: BSD-3-Clause
// Copies by process number, of this process itself.
#include "run/remote_copy.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <vector>

namespace iommufd::run {
namespace {

class RemoteCopyTest : public ::testing::Test {
 protected:
  static constexpr u64 kPages = 200;
  RemoteCopyTest() {
    for (std::size_t i = 0; i < kPages * kPageSize; ++i) memory_[i] = static_cast<std::byte>(i / 64);
  }
  ~RemoteCopyTest() override { ::munmap(memory_, kPages * kPageSize); }
  [[nodiscard]] UserVa va(u64 offset) const { return UserVa{std::bit_cast<u64>(memory_ + offset)}; }

  std::byte* memory_ = static_cast<std::byte*>(
      ::mmap(nullptr, kPages* kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
};

TEST_F(RemoteCopyTest, many_pieces_of_all_sizes) {
  std::vector<std::byte> ours(200 * 100);
  std::vector<mem::ReadPiece> pieces;
  std::size_t total = 0;
  for (u64 i = 0; i < 200; ++i) {
    const std::size_t size = i % 100;  // some are empty
    pieces.push_back({va((199 - i) * kPageSize + 4090), std::span(ours).subspan(total, i == 0 ? 0 : size)});
    total += pieces.back().bytes.size();
  }
  pieces.front().bytes = {};
  // The first one is at the end of the memory, where nothing may be touched.
  EXPECT_EQ(remote_read(::getpid(), pieces).value(), total);
  std::size_t at = 0;
  for (u64 i = 1; i < 200; ++i)
    for (std::size_t byte = 0; byte < i % 100; ++byte)
      ASSERT_EQ(ours[at++], memory_[(199 - i) * kPageSize + 4090 + byte]) << i << ' ' << byte;
}

TEST_F(RemoteCopyTest, a_closed_page_ends_the_copy_and_the_bytes_before_it_count) {
  ASSERT_EQ(::mprotect(memory_ + 100 * kPageSize, kPageSize, PROT_READ), 0);
  const std::array<std::byte, 64> ours{std::byte{1}};
  std::vector<mem::WritePiece> pieces;
  for (u64 i = 0; i < 150; ++i) pieces.push_back({va(i * kPageSize), ours});
  pieces[99].at = va(100 * kPageSize - 32);  // crosses into the closed page
  EXPECT_EQ(remote_write(::getpid(), pieces).value(), 99 * 64 + 32u);
  EXPECT_EQ(memory_[98 * kPageSize], std::byte{1});
  EXPECT_NE(memory_[101 * kPageSize], std::byte{1});
}

TEST_F(RemoteCopyTest, a_process_that_is_gone) {
  std::array<std::byte, 8> ours{};
  const mem::ReadPiece piece{va(0), ours};
  EXPECT_EQ(remote_read(0x3fffffff, {&piece, 1}).error(), Errno::kSrch);
}

}  // namespace
}  // namespace iommufd::run

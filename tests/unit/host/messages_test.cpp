// SPDX-License-Identifier: BSD-3-Clause
// Pages of our own for messages of devices, and the frames of pages. Frames are hidden from who is not root: skipped then.
#include "host/messages.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cstring>
#include <set>

#include "host/ram.hpp"
#include "mem/real_frames.hpp"

namespace iommufd::host {
namespace {

TEST(RealFrames, pages_that_are_not_there_have_none) {
  const auto frames = mem::RealFrames::open(::getpid());
  ASSERT_TRUE(frames);
  const auto memory = sys::Mapping::anonymous(2 * kPageSize);
  ASSERT_TRUE(memory);
  const UserVa at{std::bit_cast<u64>(memory->bytes().data())};
  std::array<PhysAddr, 2> out{};
  EXPECT_EQ(frames->read(at, out).error(), Errno::kFault);
  std::memset(memory->bytes().data(), 1, memory->bytes().size());
  const Result<void> read = frames->read(at, out);
  if (!read && read.error() == Errno::kPerm) GTEST_SKIP() << "frames are hidden here";
  ASSERT_TRUE(read);
  EXPECT_NE(out[0].raw(), out[1].raw());
  EXPECT_LT(out[0].raw(), ram_end());
}

TEST(PinnedMemory, has_the_frames_that_it_says) {
  const auto memory = PinnedMemory::create(3, ~u64{0});
  if (!memory && (memory.error() == Errno::kPerm || memory.error() == Errno::kNoSys))
    GTEST_SKIP() << "frames are hidden, or io_uring is off";
  ASSERT_TRUE(memory);
  const auto frames = mem::RealFrames::open(::getpid());
  std::set<u64> all;
  for (u32 i = 0; i < 3; ++i) {
    PhysAddr at;
    ASSERT_TRUE(frames->read(UserVa{std::bit_cast<u64>((*memory)->page(i).data())}, std::span(&at, 1)));
    EXPECT_EQ(at, (*memory)->address(i));
    all.insert(at.raw());
  }
  EXPECT_EQ(all.size(), 3u);
  EXPECT_GE((*memory)->pin(), 0);
  EXPECT_EQ(PinnedMemory::create(1, kPageSize).error(), Errno::kNoMem);  // no page is below that
}

}  // namespace
}  // namespace iommufd::host

// SPDX-License-Identifier: BSD-3-Clause
// The guardian's ear: what it is told, and what it holds on to. What it does to functions, tests/e2e shows.
#include "host/guardian_process.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <array>

namespace iommufd::host {
namespace {

const pci::Bdf kNobody{.domain = 0xfff0, .bus = 0xff, .device = 0x1f, .function = 7};

TEST(Guardian, listens_until_we_end) {
  const auto guardian = Guardian::start();
  ASSERT_TRUE(guardian);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE((*guardian)->set_live(kNobody, true));
    EXPECT_TRUE((*guardian)->set_live(kNobody, false));
  }
  EXPECT_FALSE((*guardian)->keeps());
}

// A pipe's reading end sees the end of all writing ends: while the guardian holds one, it does not.
TEST(Guardian, holds_descriptors_and_lets_them_go_at_our_end) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const Fd reader(ends[0]);
  Fd writer(ends[1]);
  auto guardian = Guardian::start();
  ASSERT_TRUE(guardian);
  ASSERT_TRUE((*guardian)->add(kNobody, Reset::kPossible, reader.get()));
  ASSERT_TRUE((*guardian)->hold(writer.get()));
  writer.reset();
  pollfd ended{reader.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&ended, 1, 50), 0);
  guardian->reset();
  EXPECT_EQ(::poll(&ended, 1, 10'000), 1);
  EXPECT_NE(ended.revents & POLLHUP, 0);
}

TEST(Guardian, counts_pins) {
  const auto guardian = Guardian::start();
  ASSERT_TRUE(guardian);
  (*guardian)->count(5);
  (*guardian)->count(-2);
  EXPECT_EQ((*guardian)->pinned(), 3u);
  (*guardian)->keep_pages(pci::Bdf{});
  EXPECT_TRUE((*guardian)->keeps());
}

}  // namespace
}  // namespace iommufd::host

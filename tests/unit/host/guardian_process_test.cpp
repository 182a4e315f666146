// SPDX-License-Identifier: BSD-3-Clause
// The guardian's ear: what it is told, and what it holds on to. What it does to functions, tests/e2e shows.
#include "host/guardian_process.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <thread>

#include "host/guardian.hpp"

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
}

// A program's end, at which a function was left as it was: the guardian holds its pins until it is told to release them. Of two
// programs that did so, both do.
TEST(Guardian, keeps_pages_until_all_are_released) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root may ask for it";
  constexpr auto kWait = std::chrono::milliseconds(10);
  ASSERT_FALSE(has_guardian(kNobody));
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const Fd reader(ends[0]);
  Fd writer(ends[1]);
  for (int i = 0; i < 2; ++i) {
    const auto guardian = Guardian::start();
    ASSERT_TRUE(guardian);
    ASSERT_TRUE((*guardian)->add(kNobody, Reset::kImpossible, reader.get()));
    ASSERT_TRUE((*guardian)->hold(writer.get()));
    (*guardian)->keep_pages(kNobody);
    EXPECT_TRUE((*guardian)->keeps());
  }
  writer.reset();
  pollfd ended{reader.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&ended, 1, 50), 0);
  Fd second(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const GuardianAddress name = guardian_address(kNobody, 1);
  for (int i = 0; i < 500 && ::connect(second.get(), reinterpret_cast<const sockaddr*>(&name.address), name.size); ++i)
    std::this_thread::sleep_for(kWait);
  second.reset();
  EXPECT_EQ(request_release(kNobody), "its pages were given back; its pages were given back");
  EXPECT_EQ(::poll(&ended, 1, 10'000), 1);
  EXPECT_NE(ended.revents & POLLHUP, 0);
  for (int i = 0; i < 500 && has_guardian(kNobody); ++i) std::this_thread::sleep_for(kWait);
  EXPECT_FALSE(has_guardian(kNobody));
}

}  // namespace
}  // namespace iommufd::host

// SPDX-License-Identifier: BSD-3-Clause
#include "vfio/eventfd.hpp"

#include <fcntl.h>

#include <array>
#include <atomic>

#include "base/event_watcher.hpp"
#include "tests/unit/vfio/vfio_fixture.hpp"

namespace iommufd::vfio {
namespace {

constexpr u64 kFull = ~u64{0} - 1;

TEST(Eventfd, other_files_are_refused) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  EXPECT_EQ(Eventfd::adopt(Fd(ends[0])).error(), Errno::kInval);
  EXPECT_EQ(Eventfd::adopt(Fd(ends[1])).error(), Errno::kInval);
  EXPECT_EQ(Eventfd::adopt(Fd(::open("/dev/null", O_RDWR | O_CLOEXEC))).error(), Errno::kInval);
}

TEST(Eventfd, signals_count) {
  const ClientEvent client;
  const Eventfd event = *Eventfd::adopt(Fd(::dup(client.fd())));
  event.signal();
  event.signal();
  EXPECT_EQ(client.take(), 2u);
  EXPECT_FALSE(take_eventfd(client.fd()));
  client.add(5);
  EXPECT_TRUE(take_eventfd(client.fd()));
  EXPECT_EQ(client.take(), 0u);
}

TEST(Eventfd, a_full_counter_of_a_blocking_descriptor_does_not_block) {
  const Fd blocking(::eventfd(0, EFD_CLOEXEC));
  ASSERT_EQ(::write(blocking.get(), &kFull, sizeof kFull), static_cast<ssize_t>(sizeof kFull));
  const Eventfd event = *Eventfd::adopt(Fd(::dup(blocking.get())));
  event.signal();
  u64 count = 0;
  ASSERT_EQ(::read(blocking.get(), &count, sizeof count), static_cast<ssize_t>(sizeof count));
  EXPECT_EQ(count, kFull);
  EXPECT_FALSE(take_eventfd(blocking.get()));  // nor does an empty one
}

TEST(EventWatcher, acts_on_each_signal_and_on_one_that_is_there_already) {
  EventWatcher watcher;
  const ClientEvent client;
  client.add(1);
  std::atomic<int> acts{0};
  ASSERT_TRUE(watcher.add(Fd(::dup(client.fd())), [&] { ++acts; }));
  EXPECT_TRUE(soon([&] { return acts == 1; }));
  client.add(7);
  EXPECT_TRUE(soon([&] { return acts == 2; }));
  EXPECT_EQ(client.take(), 0u);
}

TEST(EventWatcher, after_remove_nothing_acts_though_the_client_keeps_the_file) {
  EventWatcher watcher;
  const ClientEvent client;
  std::atomic<int> acts{0};
  const auto id = watcher.add(Fd(::dup(client.fd())), [&] { ++acts; });
  ASSERT_TRUE(id);
  watcher.remove(*id);
  client.add(1);
  const ClientEvent other;
  std::atomic<int> others{0};
  ASSERT_TRUE(watcher.add(Fd(::dup(other.fd())), [&] { ++others; }));
  other.add(1);
  EXPECT_TRUE(soon([&] { return others == 1; }));
  EXPECT_EQ(acts, 0);
  watcher.remove(*id);  // twice is nothing
}

TEST(EventWatcher, remove_waits_for_a_running_action) {
  EventWatcher watcher;
  const ClientEvent client;
  std::atomic<bool> inside{false}, go{false};
  const auto id = watcher.add(Fd(::dup(client.fd())), [&] {
    inside = true;
    while (!go) std::this_thread::yield();
    inside = false;
  });
  client.add(1);
  ASSERT_TRUE(soon([&] { return inside.load(); }));
  std::jthread release([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    go = true;
  });
  watcher.remove(*id);
  EXPECT_FALSE(inside);
}

}  // namespace
}  // namespace iommufd::vfio

// SPDX-License-Identifier: BSD-3-Clause
#include "models/poller.hpp"

#include <atomic>
#include <thread>

namespace iommufd::models {
namespace {

struct Counter final : pci::DeviceModel {
  std::atomic<int> polls{0};
  std::atomic<bool> watching{false};
  std::atomic<bool> block{false};
  std::atomic<bool> inside{false};
  std::atomic<s64> due_in_us{-1};
  std::atomic<bool> asks_to_spin{false};
  u64 bar_read(u32, u64, u32) override { return 0; }
  void bar_write(u32, u64, u32, u64) override {}
  void reset() override {}
  void attach_memory(u32, std::span<std::byte>) override {}
  void detach_memory(u32) override {}
  pci::PollOutcome poll() override {
    inside = true;
    while (block) std::this_thread::yield();
    inside = false;
    ++polls;
    pci::PollOutcome outcome{.worked = false, .watching = watching, .wake_at = {}};
    if (const s64 us = due_in_us.exchange(-1); us >= 0)
      outcome.wake_at = pci::Clock::now() + std::chrono::microseconds(us);
    if (asks_to_spin) outcome.spin_until = pci::Clock::now() + std::chrono::seconds(1);
    return outcome;
  }
};

bool soon(auto done) {
  const auto end = pci::Clock::now() + std::chrono::seconds(10);
  while (!done()) {
    if (pci::Clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  return true;
}

TEST(Poller, sleeps_until_woken_when_nothing_is_watched) {
  Counter model;
  Poller poller;
  poller.add(model);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(model.polls, 0);
  poller.wake();
  EXPECT_TRUE(soon([&] { return model.polls == 1; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(model.polls, 1);
}

TEST(Poller, keeps_looking_while_something_is_watched) {
  Counter model;
  model.watching = true;
  Poller poller;
  poller.add(model);
  poller.wake();
  EXPECT_TRUE(soon([&] { return model.polls > 100; }));
  poller.remove(model);
}

// With the sleeps in between, which grow to a millisecond, so many looks would take longer than soon() waits.
TEST(Poller, does_not_sleep_while_a_model_asks_for_it) {
  Counter model;
  model.watching = model.asks_to_spin = true;
  Poller poller;
  poller.add(model);
  poller.wake();
  EXPECT_TRUE(soon([&] { return model.polls > 20'000; }));
  poller.remove(model);
}

TEST(Poller, looks_when_something_is_due) {
  Counter model;
  model.due_in_us = 3000;
  Poller poller;
  poller.add(model);
  poller.wake();
  EXPECT_TRUE(soon([&] { return model.polls == 2; }));
  poller.remove(model);
}

TEST(Poller, look_runs_on_the_calling_thread) {
  Counter a, b;
  Poller poller;
  poller.add(a);
  poller.add(b);
  poller.look();
  EXPECT_EQ(a.polls, 1);
  EXPECT_EQ(b.polls, 1);
  poller.remove(a);
  poller.look();
  EXPECT_EQ(a.polls, 1);
  EXPECT_EQ(b.polls, 2);
}

TEST(Poller, remove_waits_for_a_look_in_progress) {
  Counter model;
  model.block = true;
  Poller poller;
  poller.add(model);
  poller.wake();
  EXPECT_TRUE(soon([&] { return model.inside.load(); }));
  std::atomic<bool> removed{false};
  std::jthread remover([&] {
    poller.remove(model);
    removed = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_FALSE(removed);
  model.block = false;
  remover.join();
  const int polls = model.polls;
  poller.wake();
  poller.look();
  EXPECT_EQ(model.polls, polls);
}

TEST(Poller, models_come_and_go_while_it_runs) {
  Counter steady;
  steady.watching = true;
  Poller poller;
  poller.add(steady);
  poller.wake();
  std::vector<std::jthread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        Counter model;
        model.watching = true;
        poller.add(model);
        poller.look();
        poller.wake();
        poller.remove(model);
      }
    });
  }
  threads.clear();
  poller.remove(steady);
}

}  // namespace
}  // namespace iommufd::models

// SPDX-License-Identifier: BSD-3-Clause
// Copies that end where memory ends: which bytes arrive, whoever takes the memory away and whenever.
#include "mem/guarded_copy.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <thread>
#include <vector>

#include "base/fd.hpp"
#include "base/types.hpp"

namespace iommufd::mem {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// A file of `pages` pages, mapped for more than it has.
class SharedPages {
 public:
  explicit SharedPages(u64 pages, u64 mapped_pages = 16)
      : fd(::memfd_create("pages", MFD_CLOEXEC)), size_(mapped_pages * kPageSize) {
    resize(pages * kPageSize);
    bytes = static_cast<std::byte*>(::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
  }
  ~SharedPages() { ::munmap(bytes, size_); }
  SharedPages(const SharedPages&) = delete;
  SharedPages& operator=(const SharedPages&) = delete;
  void resize(u64 size) const { ASSERT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0); }
  [[nodiscard]] std::byte* end(u64 pages) const { return bytes + pages * kPageSize; }

  const Fd fd;
  std::byte* bytes = nullptr;

 private:
  const u64 size_;
};

std::byte pattern(u64 i) { return static_cast<std::byte>(i * 7 + i / 251 + 1); }

std::vector<std::byte> patterned(std::size_t size) {
  std::vector<std::byte> out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = pattern(i);
  return out;
}

class GuardedCopyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!enable_guarded_copies()) GTEST_SKIP() << "not written for this processor";
  }
};

TEST_F(GuardedCopyTest, every_length_and_place_arrives_and_nothing_else) {
  const std::vector<std::byte> from = patterned(9000);
  for (const std::size_t offset : {0u, 1u, 7u, 15u})
    for (std::size_t size = 0; size < 700; ++size) {
      std::vector<std::byte> to(size + 64, std::byte{0xee});
      ASSERT_EQ(guarded_copy(to.data() + offset, from.data() + 3 * offset, size), size);
      ASSERT_EQ(std::memcmp(to.data() + offset, from.data() + 3 * offset, size), 0) << size;
      for (std::size_t i = 0; i < to.size(); ++i)
        ASSERT_TRUE((i >= offset && i < offset + size) || to[i] == std::byte{0xee}) << size << ' ' << i;
    }
}

// Where the memory ends in the middle, everything before has arrived and nothing behind.
TEST_F(GuardedCopyTest, a_copy_ends_at_the_exact_byte) {
  const SharedPages pages(1);
  const std::vector<std::byte> ours = patterned(2 * kPageSize);
  for (std::size_t before = 0; before < 300; ++before)
    for (const std::size_t behind : {1u, 2u, 3u, 4u, 7u, 8u, 12u, 15u, 16u, 17u, 64u, 300u, 4096u}) {
      std::byte* const at = pages.end(1) - before;
      std::memset(at, 0, before);
      ASSERT_EQ(guarded_copy(at, ours.data(), before + behind), before) << before << '+' << behind;
      ASSERT_EQ(std::memcmp(at, ours.data(), before), 0) << before << '+' << behind;
      std::vector<std::byte> to(before + behind + 1, std::byte{0xee});
      ASSERT_EQ(guarded_copy(to.data(), at, before + behind), before) << before << '+' << behind;
      ASSERT_EQ(std::memcmp(to.data(), at, before), 0);
      for (std::size_t i = before; i < to.size(); ++i) ASSERT_EQ(to[i], std::byte{0xee}) << before << '+' << behind;
    }
}

TEST_F(GuardedCopyTest, a_file_that_grows_again_is_there_again) {
  const SharedPages pages(2);
  const std::vector<std::byte> ours = patterned(2 * kPageSize);
  EXPECT_EQ(guarded_copy(pages.bytes, ours.data(), ours.size()), ours.size());
  pages.resize(0);
  EXPECT_EQ(guarded_copy(pages.bytes, ours.data(), ours.size()), 0u);
  pages.resize(kPageSize);
  EXPECT_EQ(guarded_copy(pages.bytes, ours.data(), ours.size()), kPageSize);
  pages.resize(2 * kPageSize);
  EXPECT_EQ(guarded_copy(pages.bytes, ours.data(), ours.size()), ours.size());
  EXPECT_EQ(std::memcmp(pages.bytes, ours.data(), ours.size()), 0);
}

TEST_F(GuardedCopyTest, holes_are_filled) {
  const SharedPages pages(4);
  const std::vector<std::byte> ours = patterned(4 * kPageSize);
  std::vector<std::byte> back(4 * kPageSize, std::byte{1});
  EXPECT_EQ(guarded_copy(back.data(), pages.bytes, back.size()), back.size());
  EXPECT_EQ(back, std::vector<std::byte>(4 * kPageSize));
  EXPECT_EQ(guarded_copy(pages.bytes, ours.data(), ours.size()), ours.size());
  ASSERT_EQ(::fallocate(pages.fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kPageSize, 2 * kPageSize), 0);
  EXPECT_EQ(guarded_copy(back.data(), pages.bytes, back.size()), back.size());
  for (std::size_t i = 0; i < back.size(); ++i)
    ASSERT_EQ(back[i], i / kPageSize == 1 || i / kPageSize == 2 ? std::byte{0} : pattern(i)) << i;
}

// Another thread cuts the file and makes it longer all the time: a copy is whole or short, what it moved is right, and nobody dies.
TEST_F(GuardedCopyTest, racing_a_thread_that_cuts_the_file) {
  constexpr u64 kRounds = 10000;
  const SharedPages pages(2);
  const std::vector<std::byte> ours = patterned(2 * kPageSize);
  std::vector<std::byte> back(2 * kPageSize);
  std::atomic<bool> stop{false};
  std::atomic<u64> resized{0};
  std::thread owner([&] {
    for (; !stop.load(); ++resized) pages.resize(resized % 3 * kPageSize);
  });
  u64 whole = 0;
  u64 cut = 0;
  for (u64 i = 0; resized < kRounds || whole < kRounds || cut < kRounds; ++i) {
    const std::size_t size = i % 4 == 0 ? 8 : i % 4 == 1 ? 200 : ours.size();
    const std::size_t at = size == ours.size() ? 0 : kPageSize - size / 2;
    std::size_t moved = 0;
    if (i % 2 == 0) {
      moved = guarded_copy(pages.bytes + at, ours.data(), size);
    } else {
      moved = guarded_copy(back.data(), pages.bytes + at, size);
    }
    EXPECT_LE(moved, size);
    ++(moved == size ? whole : cut);
  }
  stop = true;
  owner.join();
}

TEST_F(GuardedCopyTest, several_threads_at_once) {
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (u64 t = 0; t < 4; ++t)
    threads.emplace_back([&good, t] {
      const SharedPages pages(t + 1);
      const std::vector<std::byte> ours = patterned(8 * kPageSize);
      for (int i = 0; i < 500; ++i)
        if (guarded_copy(pages.bytes, ours.data(), ours.size()) != (t + 1) * kPageSize) return;
      ++good;
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(good, 4);
}

// Aligned words never arrive in parts: a reader sees one of the two values that are stored in turn.
TEST_F(GuardedCopyTest, aligned_words_are_single_accesses) {
  const SharedPages pages(1);
  const std::array<u64, 2> values{0, ~u64{0}};
  std::atomic<bool> stop{false};
  std::thread device([&] {
    for (u64 i = 0; !stop.load(); ++i)
      (void)guarded_copy(pages.bytes + 56, reinterpret_cast<const std::byte*>(&values[i % 2]), 8);
  });
  const std::atomic_ref<u64> word(*reinterpret_cast<u64*>(pages.bytes + 56));
  std::array<u64, 2> seen{};
  u64 torn = 0;
  while (seen[0] < 100000 || seen[1] < 100000) {
    const u64 value = word.load(std::memory_order_relaxed);
    torn += value != values[0] && value != values[1] ? 1 : 0;
    ++seen[value & 1];
  }
  stop = true;
  device.join();
  EXPECT_EQ(torn, 0u);
}

// ---- whose signals they are -------------------------------------------------------------------------------

std::atomic<int> g_seen{0};

void touch_beyond_the_end() {
  const SharedPages pages(1);
  *const_cast<volatile std::byte*>(pages.end(1)) = std::byte{1};
}

// These run in processes of their own, before anything has enabled the guard there (gtest starts the program again for each).
class GuardDeathTest : public ::testing::Test {
 protected:
  void SetUp() override { ::testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

TEST_F(GuardDeathTest, other_faults_end_the_process_as_before) {
  if (kSanitized) GTEST_SKIP() << "the sanitizer has an action of its own";
  EXPECT_EXIT(
      {
        enable_guarded_copies();
        touch_beyond_the_end();
      },
      ::testing::KilledBySignal(SIGBUS), "");
  EXPECT_EXIT(
      {
        enable_guarded_copies();
        ::raise(SIGBUS);
      },
      ::testing::KilledBySignal(SIGBUS), "");
}

TEST_F(GuardDeathTest, other_faults_reach_the_handler_that_was_there) {
  EXPECT_EXIT(
      {
        ::signal(SIGBUS, [](int) { ::_exit(7); });
        enable_guarded_copies();
        touch_beyond_the_end();
      },
      ::testing::ExitedWithCode(7), "");
  EXPECT_EXIT(
      {
        struct sigaction action{};
        action.sa_flags = SA_SIGINFO;
        action.sa_sigaction = [](int, siginfo_t* info, void*) { ::_exit(info->si_code == BUS_ADRERR ? 8 : 9); };
        ::sigaction(SIGBUS, &action, nullptr);
        enable_guarded_copies();
        touch_beyond_the_end();
      },
      ::testing::ExitedWithCode(8), "");
}

TEST_F(GuardDeathTest, a_signal_that_was_sent_is_no_fault_even_during_a_copy) {
  if (kSanitized) GTEST_SKIP() << "the thread sanitizer delivers signals late";
  EXPECT_EXIT(
      {
        ::signal(SIGBUS, [](int) { ++g_seen; });
        enable_guarded_copies();
        const SharedPages pages(16);
        const std::vector<std::byte> ours = patterned(16 * kPageSize);
        std::atomic<bool> stop{false};
        const pthread_t self = ::pthread_self();
        std::thread sender([&] {
          while (!stop.load()) {
            ::pthread_kill(self, SIGBUS);
            ::usleep(20);
          }
        });
        bool whole = true;
        for (int i = 0; i < 3000 || (g_seen < 100 && i < 1000000); ++i)
          whole = whole && guarded_copy(pages.bytes, ours.data(), ours.size()) == ours.size();
        stop = true;
        sender.join();
        ::_exit(whole && g_seen >= 100 ? 5 : 6);
      },
      ::testing::ExitedWithCode(5), "");
}

TEST_F(GuardDeathTest, without_the_guard_a_copy_is_memcpy) {
  if (kSanitized) GTEST_SKIP() << "the sanitizer has an action of its own";
  EXPECT_EXIT(
      {
        const SharedPages pages(1);
        const std::vector<std::byte> ours(16);
        (void)guarded_copy(pages.end(1), ours.data(), ours.size());
      },
      ::testing::KilledBySignal(SIGBUS), "");
}

}  // namespace
}  // namespace iommufd::mem

// SPDX-License-Identifier: BSD-3-Clause
// Files of clients: one object each, how they are reached, and what is left of them afterwards.
#include "mem/client_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "mem/file_space.hpp"
#include "mem/guarded_copy.hpp"

namespace iommufd::mem {
namespace {

Fd memfd(u64 pages) {
  Fd fd(::memfd_create("client", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(pages * kPageSize)), 0);
  return fd;
}

Fd duplicate(const Fd& fd) { return Fd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)); }

Fd reopen(const Fd& fd, int flags) {
  return Fd(::open(fmt::format("/proc/self/fd/{}", fd.get()).c_str(), flags | O_CLOEXEC));
}

std::byte byte_at(const Fd& fd, u64 offset) {
  std::byte b{};
  EXPECT_EQ(::pread(fd.get(), &b, 1, static_cast<off_t>(offset)), 1);
  return b;
}

// Descriptors and mappings of the process that lead to the file.
u64 traces_of(const Fd& fd) {
  struct stat want{};
  EXPECT_EQ(::fstat(fd.get(), &want), 0);
  u64 found = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    struct stat st{};
    found += ::stat(entry.path().c_str(), &st) == 0 && st.st_dev == want.st_dev && st.st_ino == want.st_ino ? 1 : 0;
  }
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);)
    found += line.find(fmt::format(" {} ", want.st_ino)) != std::string::npos &&
                     line.find("memfd:client") != std::string::npos
                 ? 1
                 : 0;
  return found;
}

const std::array<std::byte, 8> kWord{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4},
                                     std::byte{5}, std::byte{6}, std::byte{7}, std::byte{8}};

class ClientFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!enable_guarded_copies()) GTEST_SKIP() << "not written for this processor";
  }
};

TEST_F(ClientFileTest, a_file_has_one_object_and_another_file_another) {
  const Fd fd = memfd(4);
  const Fd other = memfd(4);
  const auto a = ClientFile::of(duplicate(fd));
  const auto b = ClientFile::of(reopen(fd, O_RDONLY));
  const auto c = ClientFile::of(duplicate(other));
  EXPECT_EQ(a, b);
  EXPECT_NE(a, c);
  a->map(4 * kPageSize);
  c->map(4 * kPageSize);
  ASSERT_NE(a->direct(0), nullptr);
  ASSERT_NE(c->direct(0), nullptr);
  EXPECT_EQ(a->write_some(100, kWord), 8u);
  EXPECT_EQ(byte_at(fd, 100), std::byte{1});
  EXPECT_EQ(byte_at(other, 100), std::byte{0});
  EXPECT_EQ(traces_of(fd), 1u + 1 + 1);  // ours here, the object's, its mapping
}

TEST_F(ClientFileTest, descriptor_and_mapping_go_with_the_last_user) {
  const Fd fd = memfd(4);
  for (int i = 0; i < 3; ++i) {
    auto a = ClientFile::of(duplicate(fd));
    auto b = ClientFile::of(duplicate(fd));
    a->map(4 * kPageSize);
    a = nullptr;
    EXPECT_EQ(traces_of(fd), 3u);
    EXPECT_EQ(b->write_some(0, kWord), 8u);
    b = nullptr;
    EXPECT_EQ(traces_of(fd), 1u);
  }
  struct stat st{};
  ASSERT_EQ(::fstat(fd.get(), &st), 0);
  EXPECT_EQ(ClientFile::find(st.st_dev, st.st_ino), nullptr);
}

TEST_F(ClientFileTest, it_is_memory_shared_with_the_client) {
  const Fd fd = memfd(2);
  auto* client =
      static_cast<std::byte*>(::mmap(nullptr, 2 * kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
  auto* priv = static_cast<std::byte*>(::mmap(nullptr, kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd.get(), 0));
  priv[0] = std::byte{9};  // a copy of its own
  const auto file = ClientFile::of(duplicate(fd));
  file->map(2 * kPageSize);
  std::byte* const ours = file->direct(kPageSize + 16);
  ASSERT_NE(ours, nullptr);
  client[kPageSize + 16] = std::byte{0x5a};
  EXPECT_EQ(*ours, std::byte{0x5a});
  EXPECT_EQ(file->write_some(0, kWord), 8u);
  EXPECT_EQ(client[0], std::byte{1});
  EXPECT_EQ(priv[0], std::byte{9});
  ::munmap(client, 2 * kPageSize);
  ::munmap(priv, kPageSize);
}

TEST_F(ClientFileTest, cut_and_longer_again) {
  const Fd fd = memfd(4);
  const auto file = ClientFile::of(duplicate(fd));
  file->map(4 * kPageSize);
  ASSERT_EQ(::ftruncate(fd.get(), kPageSize), 0);
  std::array<std::byte, 8> back{};
  EXPECT_EQ(file->write_some(kPageSize - 3, kWord), 3u);
  EXPECT_EQ(file->read_some(kPageSize - 3, back), 3u);
  EXPECT_EQ(file->write_some(2 * kPageSize, kWord), 0u);
  ASSERT_EQ(::ftruncate(fd.get(), 3 * kPageSize), 0);
  EXPECT_EQ(file->write_some(2 * kPageSize, kWord), 8u);
  EXPECT_EQ(byte_at(fd, 2 * kPageSize + 7), std::byte{8});
  struct stat st{};
  ASSERT_EQ(::fstat(fd.get(), &st), 0);
  EXPECT_EQ(st.st_size, 3 * static_cast<off_t>(kPageSize));
}

TEST_F(ClientFileTest, what_was_reachable_stays_where_it_is_when_the_file_grows) {
  const Fd fd = memfd(1);
  const auto file = ClientFile::of(duplicate(fd));
  file->map(kPageSize);
  std::byte* const first = file->direct(0);
  for (u64 pages = 2; pages <= 1000; ++pages) {
    ASSERT_EQ(::ftruncate(fd.get(), static_cast<off_t>(pages * kPageSize)), 0);
    file->map(pages * kPageSize);
    ASSERT_NE(file->direct(pages * kPageSize - 1), nullptr) << pages;
  }
  EXPECT_EQ(file->direct(0), first);
  EXPECT_LE(traces_of(fd), 2u + 11);
  // Across parts.
  std::vector<std::byte> ours(1000 * kPageSize), back(ours.size());
  for (std::size_t i = 0; i < ours.size(); ++i) ours[i] = static_cast<std::byte>(i * 13 + i / kPageSize);
  EXPECT_EQ(file->write_some(0, ours), ours.size());
  EXPECT_EQ(file->read_some(0, back), back.size());
  EXPECT_EQ(back, ours);
  EXPECT_EQ(::pread(fd.get(), back.data(), back.size(), 0), static_cast<ssize_t>(back.size()));
  EXPECT_EQ(back, ours);
}

// Sealed against writing: the kernel refuses, and no touch is tried.
TEST_F(ClientFileTest, what_cannot_be_written_is_not_mapped) {
  const Fd fd = memfd(1);
  ASSERT_EQ(::pwrite(fd.get(), kWord.data(), 8, 0), 8);
  ASSERT_EQ(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK), 0);
  const auto file = ClientFile::of(duplicate(fd));
  EXPECT_EQ(file->access(), Access::kRead);
  file->map(kPageSize);
  EXPECT_EQ(file->direct(0), nullptr);
  std::array<std::byte, 8> back{};
  EXPECT_EQ(file->read_some(0, back), 8u);
  EXPECT_EQ(back, kWord);
  EXPECT_EQ(file->write_some(0, kWord), 0u);
}

TEST_F(ClientFileTest, an_object_for_writing_takes_the_place_of_one_for_reading) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write everything";
  const Fd fd = memfd(1);
  ASSERT_EQ(::fchmod(fd.get(), 0444), 0);
  const auto reading = ClientFile::of(reopen(fd, O_RDONLY));
  EXPECT_EQ(reading->access(), Access::kRead);
  ASSERT_EQ(::fchmod(fd.get(), 0644), 0);
  const auto writing = ClientFile::of(reopen(fd, O_RDONLY));
  EXPECT_EQ(writing->access(), Access::kReadWrite);
  EXPECT_EQ(ClientFile::of(duplicate(fd)), writing);
}

// Flags and position of the client's open file are its own: an appending one would move what DMA writes.
TEST_F(ClientFileTest, the_clients_open_file_is_not_ours) {
  const Fd fd = memfd(1);
  ASSERT_EQ(::fcntl(fd.get(), F_SETFL, O_APPEND), 0);
  const auto file = ClientFile::of(duplicate(fd));
  EXPECT_EQ(::fcntl(file->fd().get(), F_GETFL) & O_APPEND, 0);
  EXPECT_EQ(file->write_some(8, kWord), 8u);  // by a system call: nothing was mapped
  EXPECT_EQ(byte_at(fd, 8), std::byte{1});
  struct stat st{};
  ASSERT_EQ(::fstat(fd.get(), &st), 0);
  EXPECT_EQ(st.st_size, static_cast<off_t>(kPageSize));
}

TEST_F(ClientFileTest, what_is_no_regular_file_is_left_alone) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), 0);
  const Fd write_end(ends[1]);
  const auto a = ClientFile::of(Fd(ends[0]));
  a->map(kPageSize);
  EXPECT_EQ(a->direct(0), nullptr);
  std::array<std::byte, 8> back{};
  EXPECT_EQ(a->read_some(0, back), 0u);
}

// DMA, growth and truncation by several threads at once, 10,000 times.
TEST_F(ClientFileTest, racing_its_owner) {
  const Fd fd = memfd(8);
  std::atomic<bool> stop{false};
  std::thread owner([&] {
    for (u64 i = 0; !stop.load(); ++i) (void)!::ftruncate(fd.get(), static_cast<off_t>(i * 5 % 9 * kPageSize));
  });
  std::thread user([&] {
    while (!stop.load()) {
      const auto file = ClientFile::of(duplicate(fd));
      file->map(8 * kPageSize);
      std::array<std::byte, 64> back{};
      (void)file->read_some(7 * kPageSize, back);
    }
  });
  std::vector<std::byte> ours(3 * kPageSize, std::byte{7});
  for (u64 i = 0; i < 10000; ++i) {
    const auto file = ClientFile::of(duplicate(fd));
    file->map(8 * kPageSize);
    ASSERT_LE(file->write_some(i % 6 * kPageSize, ours), ours.size());
  }
  stop = true;
  owner.join();
  user.join();
}

// As the engine uses it: pages of MAP_FILE are touched where they are.
TEST_F(ClientFileTest, pages_of_a_file_space_are_direct) {
  const Fd fd = memfd(4);
  const Ref<FileSpace> a = make_ref<FileSpace>(duplicate(fd));
  const Ref<FileSpace> b = make_ref<FileSpace>(duplicate(fd));
  std::vector<PageRun> runs;
  ASSERT_TRUE(a->populate(UserVa{kPageSize}, 2, Access::kReadWrite, runs));
  EXPECT_NE(a->direct(UserVa{kPageSize}), nullptr);
  EXPECT_EQ(a->direct(UserVa{kPageSize}), b->direct(UserVa{kPageSize}));
}

}  // namespace
}  // namespace iommufd::mem

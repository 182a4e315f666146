// SPDX-License-Identifier: BSD-3-Clause
// Files that are pinned for real devices. Frames are hidden from all but root.
#include "run/pinned_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <filesystem>

#include "base/explain.hpp"
#include "base/sys.hpp"
#include "mem/real_frames.hpp"

namespace iommufd::run {
namespace {

using testing::HasSubstr;

constexpr u64 kEverything = ~u64{0};

class Keeper final : public mem::PinKeeper {
 public:
  Result<void> hold(int descriptor) override {
    held_ = Fd(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
    return {};
  }
  void keep_all() { keep(); }

 private:
  Fd held_;
};

Fd memfd(u64 size, unsigned flags = 0) {
  Fd fd(::memfd_create("client", MFD_CLOEXEC | flags));
  EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
  return fd;
}

Fd duplicate(const Fd& fd) { return Fd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)); }

// The addresses of all pages that the runs say.
std::vector<u64> addresses(const std::vector<mem::PageRun>& runs) {
  std::vector<u64> out;
  for (const mem::PageRun& run : runs)
    for (u64 i = 0; i < run.pages; ++i) out.push_back(run.on_bus->raw() + i * kPageSize);
  return out;
}

class PinnedFileTest : public testing::Test {
 protected:
  void SetUp() override {
    const sys::Mapping page = *sys::Mapping::anonymous(kPageSize);
    page.bytes()[0] = std::byte{1};
    PhysAddr frame;
    const auto frames = mem::RealFrames::open(::getpid());
    if (!frames || !frames->read(UserVa{std::bit_cast<u64>(page.bytes().data())}, std::span(&frame, 1)))
      GTEST_SKIP() << "frames are hidden from us";
    const auto ring = FilePins(nullptr, kEverything).ring();
    if (!ring) GTEST_SKIP() << "no io_uring here";
  }
  Ref<PinnedFile> open(const Fd& fd, u64 frames_end = kEverything) {
    return make_ref<PinnedFile>(duplicate(fd), make_ref<FilePins>(&keeper_, frames_end));
  }
  static Result<std::vector<u64>> populate(PinnedFile& file, u64 page, u64 count) {
    std::vector<mem::PageRun> runs;
    IOMMUFD_TRY(file.populate(UserVa{page * kPageSize}, count, Access::kRead, runs));
    return addresses(runs);
  }
  // Where the pages of a mapping of ours are.
  static std::vector<u64> frames_of(const sys::Mapping& mapping) {
    std::vector<PhysAddr> frames(mapping.bytes().size() / kPageSize);
    for (u64 i = 0; i < frames.size(); ++i) (void)std::atomic_ref(mapping.bytes()[i * kPageSize]).load();
    EXPECT_TRUE(mem::RealFrames::open(::getpid())->read(UserVa{std::bit_cast<u64>(mapping.bytes().data())}, frames));
    std::vector<u64> out;
    for (const PhysAddr frame : frames) out.push_back(frame.raw());
    return out;
  }
  Keeper keeper_;
};

TEST_F(PinnedFileTest, has_the_frames_that_its_other_users_have) {
  const Fd fd = memfd(8 * kPageSize);
  const sys::Mapping theirs = *sys::Mapping::map(fd.get(), 0, 8 * kPageSize, Access::kReadWrite);
  const std::vector<u64> expected = frames_of(theirs);
  const Ref<PinnedFile> file = open(fd);
  const auto all = populate(*file, 0, 8);
  ASSERT_TRUE(all);
  EXPECT_EQ(*all, expected);
  const auto part = populate(*open(fd), 3, 2);
  ASSERT_TRUE(part);
  EXPECT_EQ(*part, std::vector<u64>(expected.begin() + 3, expected.begin() + 5));
}

TEST_F(PinnedFileTest, allocates_pages_that_are_missing) {
  const Fd fd = memfd(4 * kPageSize);
  const auto before = populate(*open(fd), 0, 4);
  ASSERT_TRUE(before);
  EXPECT_EQ(frames_of(*sys::Mapping::map(fd.get(), 0, 4 * kPageSize, Access::kReadWrite)), *before);
}

TEST_F(PinnedFileTest, counts_its_pins_and_ends_them) {
  const Fd fd = memfd(4 * kPageSize);
  Ref<PinnedFile> file = open(fd);
  ASSERT_TRUE(populate(*file, 0, 4));
  EXPECT_EQ(keeper_.pinned(), 4u);
  file = nullptr;
  EXPECT_EQ(keeper_.pinned(), 0u);
}

TEST_F(PinnedFileTest, stays_pinned_when_the_keeper_says_so) {
  const Fd fd = memfd(4 * kPageSize);
  Ref<PinnedFile> file = open(fd);
  ASSERT_TRUE(populate(*file, 0, 4));
  keeper_.keep_all();
  file = nullptr;
  EXPECT_EQ(keeper_.pinned(), 4u);
}

TEST_F(PinnedFileTest, leaves_neither_mapping_nor_descriptor) {
  const auto traces = [] {
    u64 found = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
      found += u64{std::filesystem::read_symlink(entry.path()).string().find("memfd:client") != std::string::npos};
    return found + u64{sys::read_file("/proc/self/maps").value_or("").find("memfd:client") != std::string::npos};
  };
  Fd fd = memfd(4 * kPageSize);
  Ref<PinnedFile> file = open(fd);
  ASSERT_TRUE(populate(*file, 0, 4));
  fd.reset();
  EXPECT_EQ(traces(), 1u);  // its own descriptor
  file = nullptr;
  EXPECT_EQ(traces(), 0u);
}

// What is cut off is still the device's; a file that grows again has other pages.
TEST_F(PinnedFileTest, reaches_its_pages_after_the_file_was_cut_short) {
  const Fd fd = memfd(2 * kPageSize);
  const Ref<PinnedFile> file = open(fd);
  const auto old = populate(*file, 0, 2);
  ASSERT_TRUE(old);
  const std::array<std::byte, 4> word{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
  ASSERT_TRUE(file->write(UserVa{kPageSize + 8}, word));
  std::array<std::byte, 4> there{};
  ASSERT_EQ(::pread(fd.get(), there.data(), 4, kPageSize + 8), 4);
  EXPECT_EQ(there, word);

  ASSERT_EQ(::ftruncate(fd.get(), kPageSize), 0);
  there = {};
  ASSERT_TRUE(file->read(UserVa{kPageSize + 8}, there));
  EXPECT_EQ(there, word);
  EXPECT_EQ(populate(*open(fd), 0, 2).error(), Errno::kInval);
  ASSERT_EQ(::ftruncate(fd.get(), 2 * kPageSize), 0);
  const auto fresh = populate(*open(fd), 0, 2);
  ASSERT_TRUE(fresh);
  EXPECT_EQ(fresh->front(), old->front());
  EXPECT_NE(fresh->back(), old->back());
}

TEST_F(PinnedFileTest, is_reached_where_it_is_pinned_and_where_not) {
  const Fd fd = memfd(6 * kPageSize);
  const Ref<PinnedFile> file = open(fd);
  ASSERT_TRUE(populate(*file, 0, 2));
  ASSERT_TRUE(populate(*file, 4, 2));
  EXPECT_EQ(keeper_.pinned(), 4u);
  // Over pieces that are held, and one that is not.
  std::vector<std::byte> bytes(6 * kPageSize, std::byte{7}), back(bytes.size());
  ASSERT_TRUE(file->write(UserVa{0}, bytes));
  ASSERT_TRUE(file->read(UserVa{0}, back));
  EXPECT_EQ(back, bytes);
  ASSERT_EQ(::pread(fd.get(), back.data(), back.size(), 0), static_cast<ssize_t>(back.size()));
  EXPECT_EQ(back, bytes);
}

TEST_F(PinnedFileTest, is_not_pinned_past_its_end_or_without_memory_behind_it) {
  EXPECT_EQ(populate(*open(memfd(2048)), 0, 1).error(), Errno::kInval);
  EXPECT_THAT(last_reason().rule, HasSubstr("inside the file"));
  EXPECT_EQ(populate(*open(Fd(::open("/dev/zero", O_RDWR | O_CLOEXEC))), 0, 1).error(), Errno::kInval);
  EXPECT_EQ(populate(*open(Fd(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC))), 0, 1).error(), Errno::kInval);
  EXPECT_THAT(last_reason().rule, HasSubstr("must be a memfd"));
}

TEST_F(PinnedFileTest, may_be_open_for_reading_alone) {
  const Fd fd = memfd(kPageSize);
  const Fd reader(::open(fmt::format("/proc/self/fd/{}", fd.get()).c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(populate(*open(reader), 0, 1));
}

TEST_F(PinnedFileTest, is_refused_when_nobody_may_write_it) {
  for (const int seal : {F_SEAL_WRITE, F_SEAL_FUTURE_WRITE}) {
    const Fd fd = memfd(kPageSize, MFD_ALLOW_SEALING);
    ASSERT_EQ(::fcntl(fd.get(), F_ADD_SEALS, seal), 0);
    clear_reason();
    EXPECT_EQ(populate(*open(fd), 0, 1).error(), Errno::kPerm);
    EXPECT_THAT(last_reason().rule, HasSubstr("sealed against writing"));
    EXPECT_EQ(last_reason().value, static_cast<u64>(seal));
  }
  const Fd fd = memfd(kPageSize, MFD_ALLOW_SEALING);
  ASSERT_EQ(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL), 0);
  EXPECT_TRUE(populate(*open(fd), 0, 1));
}

TEST_F(PinnedFileTest, is_refused_out_of_the_devices_reach) {
  const Fd fd = memfd(kPageSize);
  const Ref<PinnedFile> file = open(fd, kPageSize);
  EXPECT_EQ(populate(*file, 0, 1).error(), Errno::kRange);
  EXPECT_THAT(last_reason().rule, HasSubstr("out of the device's reach"));
  EXPECT_EQ(keeper_.pinned(), 0u);
}

TEST_F(PinnedFileTest, may_be_of_huge_pages) {
  constexpr u64 kHuge = u64{2} << 20;
  const Fd fd = memfd(2 * kHuge, MFD_HUGETLB);
  const auto theirs = sys::Mapping::map(fd.get(), 0, 2 * kHuge, Access::kReadWrite);
  const Ref<PinnedFile> file = open(fd);
  // Its last page and the first of the next huge one.
  const auto two = populate(*file, kHuge / kPageSize - 1, 2);
  if (!theirs || (!two && two.error() == Errno::kNoMem)) GTEST_SKIP() << "there are no huge pages in the pool";
  ASSERT_TRUE(two);
  EXPECT_EQ(keeper_.pinned(), 2u);
  const std::vector<u64> expected = frames_of(*theirs);
  EXPECT_EQ(*two, (std::vector<u64>{expected[511], expected[512]}));
}

}  // namespace
}  // namespace iommufd::run

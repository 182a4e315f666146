// SPDX-License-Identifier: BSD-3-Clause
#include "run/huge_pool.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "run/huge_files.hpp"

namespace iommufd::run {
namespace {

constexpr u64 kPage = HugePool::kPageBytes;

struct PoolFile {
  explicit PoolFile(HugePool& pool) : fd(pool.make_file("test", 0).value()) {
    struct stat st{};
    ::fstat(fd.get(), &st);
    device = st.st_dev;
    inode = st.st_ino;
  }
  Fd fd;
  dev_t device;
  ino_t inode;
};

class HugePoolTest : public testing::Test {
 protected:
  std::unique_ptr<HugePool> pool_ = HugePool::create(8 * kPage).value();
  Result<void> take(const PoolFile& f, u64 end) { return pool_->take(f.device, f.inode, end); }
  u64 free() { return pool_->counts().free; }
};

TEST_F(HugePoolTest, pages_are_taken_up_to_the_furthest_end_of_a_file_and_no_more_than_there_are) {
  const PoolFile a(*pool_), b(*pool_);
  EXPECT_TRUE(take(a, 3 * kPage));
  EXPECT_TRUE(take(a, kPage));
  EXPECT_EQ(free(), 5u);
  EXPECT_TRUE(take(a, 3 * kPage + 1));
  EXPECT_EQ(free(), 4u);
  const Result<void> refused = take(b, 5 * kPage);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), Errno::kNoMem);
  EXPECT_TRUE(take(b, 4 * kPage));
  EXPECT_EQ(free(), 0u);
}

TEST_F(HugePoolTest, pages_are_free_again_with_the_last_descriptor_and_mapping) {
  void* mapped = nullptr;
  dev_t device = 0;
  ino_t inode = 0;
  {
    const PoolFile a(*pool_);
    device = a.device;
    inode = a.inode;
    ASSERT_TRUE(take(a, 2 * kPage));
    mapped = ::mmap(nullptr, kPage, PROT_READ, MAP_SHARED, a.fd.get(), 0);
    ASSERT_NE(mapped, MAP_FAILED);
  }
  EXPECT_EQ(free(), 6u);
  EXPECT_EQ(pool_->page_size(device, inode), kPage);
  ::munmap(mapped, kPage);
  EXPECT_EQ(free(), 8u);
  EXPECT_EQ(pool_->page_size(device, inode), kPageSize);
}

TEST_F(HugePoolTest, a_file_that_is_cut_gives_pages_back) {
  const PoolFile a(*pool_);
  ASSERT_TRUE(take(a, 4 * kPage));
  pool_->cut(a.device, a.inode, 6 * kPage);
  EXPECT_EQ(free(), 4u);
  pool_->cut(a.device, a.inode, kPage);
  EXPECT_EQ(free(), 7u);
}

TEST_F(HugePoolTest, resizing_leaves_what_is_taken) {
  const PoolFile a(*pool_);
  ASSERT_TRUE(take(a, 3 * kPage));
  pool_->resize(1);
  EXPECT_EQ(pool_->counts().total, 3u);
  EXPECT_EQ(free(), 0u);
  pool_->resize(100);
  EXPECT_EQ(free(), 97u);
}

TEST_F(HugePoolTest, files_of_the_system_say_what_the_pool_has) {
  const PoolFile a(*pool_);
  ASSERT_TRUE(take(a, 3 * kPage));
  const std::string meminfo = read_huge_file(*pool_, "/proc/meminfo").value();
  for (const char* line : {"\nHugePages_Total:       8\n", "\nHugePages_Free:        5\n",
                           "\nHugepagesize:       2048 kB\n", "\nHugetlb:           16384 kB\n"})
    EXPECT_NE(meminfo.find(line), std::string::npos) << line;
  EXPECT_EQ(meminfo.find("HugePages_Total"), meminfo.rfind("HugePages_Total"));
  EXPECT_EQ(read_huge_file(*pool_, "/proc/sys/vm/nr_hugepages"), "8\n");
  EXPECT_EQ(read_huge_file(*pool_, "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"), "5\n");
  EXPECT_EQ(read_huge_file(*pool_, "/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages"), std::nullopt);
  EXPECT_EQ(read_huge_file(*pool_, "/proc/sys/vm/free_hugepages"), std::nullopt);
}

}  // namespace
}  // namespace iommufd::run

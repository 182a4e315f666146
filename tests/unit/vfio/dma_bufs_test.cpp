// SPDX-License-Identifier: BSD-3-Clause
// BARs as dma-bufs (spec vfio-device 16): what can be one. What becomes of their mappings, tests/conformance/dma_buf.c shows.
#include "vfio/dma_bufs.hpp"

#include <array>

#include "tests/unit/vfio/vfio_fixture.hpp"

namespace iommufd::vfio {
namespace {

constexpr std::array kPage{BarRange{.offset = kPageSize, .length = kPageSize}};

TEST(DmaBufsTest, has_the_addresses_of_the_bar) {
  SampleFunction sample;
  DmaBufs buffers(sample.function);
  const auto buffer = buffers.create(0, kPage);
  ASSERT_TRUE(buffer);
  std::vector<mem::PageRun> runs;
  ASSERT_TRUE((*buffer)->populate(UserVa{0}, 1, Access::kRead, runs));
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].on_bus, PhysAddr{0xfe001000});
}

TEST(DmaBufsTest, is_whole_pages_of_a_memory_bar) {
  SampleFunction sample;
  DmaBufs buffers(sample.function);
  const std::array odd{BarRange{.offset = 0, .length = 100}}, past{BarRange{.offset = 0, .length = 0x5000}};
  EXPECT_EQ(buffers.create(0, odd).error(), Errno::kInval);
  EXPECT_EQ(buffers.create(0, past).error(), Errno::kInval);
  EXPECT_EQ(buffers.create(2, kPage).error(), Errno::kInval);
}

// Beside a real function, a simulated one's addresses are somebody else's.
TEST(DmaBufsTest, cannot_be_had_where_no_other_device_reaches_it) {
  SampleFunction sample(
      sample_spec(),
      pci::Placement{.bdf = {0, 0, 5, 0}, .bar_base = {0xfe000000, 0xfe100000, 0, 0, 0, 0}, .seen_by_peers = false});
  DmaBufs buffers(sample.function);
  EXPECT_EQ(buffers.create(0, kPage).error(), Errno::kInval);
}

}  // namespace
}  // namespace iommufd::vfio

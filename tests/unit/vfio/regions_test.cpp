// SPDX-License-Identifier: BSD-3-Clause
// Regions, where offsets land, what may be mapped (spec vfio-device 8, 9, 11), and ioeventfds (15).
#include "vfio/regions.hpp"

#include <sys/resource.h>

#include "tests/unit/vfio/vfio_fixture.hpp"
#include "vfio/ioeventfds.hpp"

namespace iommufd::vfio {
namespace {

struct RegionsTest : testing::Test {
  SampleFunction sample;
  const pci::Function& function = sample.function;
  Errno locate_error(u64 position, u64 count, Direction direction = Direction::kRead) {
    return locate(function, position, count, direction).error();
  }
};

TEST_F(RegionsTest, info_of_each_index) {
  const RegionInfo mapped = *region_info(function, 0);
  EXPECT_TRUE(mapped.readable && mapped.writable && mapped.mappable);
  EXPECT_EQ(mapped.size, 0x4000u);
  EXPECT_EQ(mapped.offset, u64{1} << 44);
  const RegionInfo trapped = *region_info(function, 1);
  EXPECT_TRUE(trapped.readable && trapped.writable && !trapped.mappable);
  for (const u32 absent : {2u, 3u, 4u, 5u, kRomRegion}) {
    const RegionInfo info = *region_info(function, absent);
    EXPECT_EQ(info.size, 0u);
    EXPECT_FALSE(info.readable || info.writable || info.mappable);
    EXPECT_EQ(info.offset, region_offset(absent));
  }
  const RegionInfo config = *region_info(function, kConfigRegion);
  EXPECT_EQ(config.size, 256u);
  EXPECT_TRUE(config.readable && config.writable && !config.mappable);
  EXPECT_EQ(region_info(function, kVgaRegion).error(), Errno::kInval);
  EXPECT_EQ(region_info(function, 9).error(), Errno::kInval);
  EXPECT_EQ(region_info(function, ~u32{0}).error(), Errno::kInval);
}

TEST_F(RegionsTest, bar_accesses_are_clipped_to_the_end) {
  const Window w = *locate(function, region_offset(1) + 0xf0, 0x100, Direction::kWrite);
  EXPECT_EQ(w.region, 1u);
  EXPECT_EQ(w.offset, 0xf0u);
  EXPECT_EQ(w.count, 0x10u);
  EXPECT_EQ(locate_error(region_offset(1) + 0x100, 1), Errno::kInval);
  EXPECT_EQ(locate_error(region_offset(2), 1), Errno::kInval);  // no such BAR
}

TEST_F(RegionsTest, config_accesses_are_not_clipped) {
  EXPECT_TRUE(locate(function, region_offset(kConfigRegion), 256, Direction::kRead));
  EXPECT_EQ(locate_error(region_offset(kConfigRegion), 257), Errno::kFault);
  EXPECT_EQ(locate_error(region_offset(kConfigRegion) + 255, 2), Errno::kFault);
  EXPECT_EQ(locate_error(region_offset(kConfigRegion) + 256, 1), Errno::kFault);
  EXPECT_EQ(locate_error(region_offset(kConfigRegion) + 1, ~u64{0}), Errno::kFault);
}

TEST_F(RegionsTest, offsets_that_programs_compute_are_read_and_written_but_not_mapped) {
  for (const u32 region : {0u, kConfigRegion}) {
    const Result<Window> window = locate(function, (u64{region} << 40) + 8, 4, Direction::kWrite);
    ASSERT_TRUE(window) << region;
    EXPECT_EQ(window->region, region);
    EXPECT_EQ(window->offset, 8u);
  }
  EXPECT_EQ(locate_error(u64{9} << 40, 4), Errno::kInval);
  EXPECT_EQ(locate_error((u64{1} << 44) - 4, 4), Errno::kInval);
  EXPECT_EQ(check_mmap(function, 0, kPageSize, Sharing::kShared).error(), Errno::kInval);
  EXPECT_TRUE(check_mmap(function, region_offset(0), kPageSize, Sharing::kShared));
}

TEST_F(RegionsTest, offsets_outside_every_region_are_refused) {
  EXPECT_EQ(locate_error(region_offset(9), 4), Errno::kInval);
  EXPECT_EQ(locate_error(~u64{0}, 4), Errno::kInval);
  EXPECT_EQ(locate_error(region_offset(kRomRegion), 4, Direction::kWrite), Errno::kInval);
  EXPECT_EQ(locate_error(region_offset(kRomRegion), 4), Errno::kInval);
  EXPECT_EQ(locate_error(region_offset(kVgaRegion), 4), Errno::kInval);
}

TEST_F(RegionsTest, mmap_takes_shared_mappings_inside_a_mappable_bar) {
  const u64 bar0 = region_offset(0);
  EXPECT_TRUE(check_mmap(function, bar0, 0x4000, Sharing::kShared));
  EXPECT_TRUE(check_mmap(function, bar0 + 0x3000, 0x1000, Sharing::kShared));
  EXPECT_EQ(check_mmap(function, bar0, 0x4000, Sharing::kPrivate).error(), Errno::kInval);
  EXPECT_EQ(check_mmap(function, bar0, 0x5000, Sharing::kShared).error(), Errno::kInval);
  EXPECT_EQ(check_mmap(function, bar0 + 0x4000, 0x1000, Sharing::kShared).error(), Errno::kInval);
  EXPECT_EQ(check_mmap(function, bar0 + 0x1000, ~u64{0}, Sharing::kShared).error(), Errno::kInval);
  EXPECT_EQ(check_mmap(function, region_offset(1), 0x1000, Sharing::kShared).error(), Errno::kInval);
  EXPECT_EQ(check_mmap(function, region_offset(kConfigRegion), 0x1000, Sharing::kShared).error(), Errno::kInval);
  EXPECT_EQ(check_mmap(function, 0, 0x1000, Sharing::kShared).error(), Errno::kInval);
}

TEST_F(RegionsTest, mmap_of_a_bar_with_areas_takes_what_lies_in_one_of_them) {
  pci::FunctionSpec spec = sample_spec();
  spec.bars[0].areas = {{0x1000, 0x1000}, {0x2000, 0x1000}};
  const SampleFunction sparse(spec);
  EXPECT_EQ(region_info(sparse.function, 0)->sparse_areas, spec.bars[0].areas);
  EXPECT_TRUE(region_info(sparse.function, 1)->sparse_areas.empty());
  const auto may = [&](u64 offset, u64 length) {
    return check_mmap(sparse.function, region_offset(0) + offset, length, Sharing::kShared).has_value();
  };
  EXPECT_TRUE(may(0x1000, 0x1000));
  EXPECT_TRUE(may(0x2000, 0x1000));
  EXPECT_FALSE(may(0x1000, 0x2000));  // two areas are two mappings
  EXPECT_FALSE(may(0, 0x1000));
  EXPECT_FALSE(may(0, 0x4000));
  EXPECT_FALSE(may(0x3000, 0x1000));
  EXPECT_FALSE(may(0x1000, ~u64{0}));
}

struct IoeventfdsTest : testing::Test {
  IoeventfdsTest() { sample.function.enable(); }
  ~IoeventfdsTest() override { ioeventfds.teardown(); }
  int set(u32 bar, u64 offset, u32 width, u64 data, IrqEventfd element) {
    const auto r = ioeventfds.set({bar, offset, width, data, std::move(element)});
    return r ? 0 : static_cast<int>(r.error());
  }
  SampleFunction sample;
  EventWatcher watcher;
  Ioeventfds ioeventfds{sample.function, watcher};
  ClientEvent event;
};

TEST_F(IoeventfdsTest, a_signal_writes_the_value) {
  ASSERT_EQ(set(1, 0x10, 4, 0x12345678, event.element()), 0);
  event.add(3);
  EXPECT_TRUE(soon([&] { return sample.model->accesses == 1; }));
  ioeventfds.teardown();
  EXPECT_EQ(sample.model->bytes[0x10], 0x78);
  EXPECT_EQ(sample.model->bytes[0x14], 0);
}

TEST_F(IoeventfdsTest, rules) {
  EXPECT_EQ(set(6, 0, 4, 0, event.element()), EINVAL);     // no BAR
  EXPECT_EQ(set(2, 0, 4, 0, event.element()), EINVAL);     // an absent one
  EXPECT_EQ(set(1, 0xfd, 4, 0, event.element()), EINVAL);  // out of range
  EXPECT_EQ(set(1, ~u64{0}, 4, 0, event.element()), EINVAL);
  EXPECT_EQ(set(1, 0, 8, 0, event.element()), EINVAL);
  EXPECT_EQ(set(1, 0, 4, 0, no_eventfd()), ENODEV);
  EXPECT_EQ(set(1, 0, 4, 0, no_eventfd(5)), EBADF);
  EXPECT_EQ(set(1, 0, 4, 0, event.element()), 0);
  EXPECT_EQ(set(1, 0, 4, 0, event.element()), EEXIST);
  EXPECT_EQ(set(1, 0, 4, 1, event.element()), 0);  // another value is another one
  EXPECT_EQ(set(1, 0, 4, 0, no_eventfd()), 0);
  EXPECT_EQ(set(1, 0, 4, 0, no_eventfd()), ENODEV);
}

TEST_F(IoeventfdsTest, there_can_be_a_thousand) {
  rlimit files{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
  files.rlim_cur = files.rlim_max;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &files), 0);
  for (u64 i = 0; i < Ioeventfds::kLimit; ++i) {
    ASSERT_EQ(set(0, 0, 4, i, event.element()), 0) << i;
  }
  EXPECT_EQ(set(0, 0, 4, 5000, event.element()), ENOSPC);
  EXPECT_EQ(set(0, 0, 4, 7, event.element()), EEXIST);
}

}  // namespace
}  // namespace iommufd::vfio

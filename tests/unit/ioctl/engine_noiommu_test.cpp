// SPDX-License-Identifier: BSD-3-Clause
// Devices without an IOMMU: DMA by physical address, GET_PA, and both kinds in one IOAS.
#include <cstring>

#include "tests/unit/ioctl/engine_fixture.hpp"

namespace iommufd {
namespace {

TEST_F(Engine, bus_mastering_gates_everything) {
  core::Device& device = bind(device_none);
  const u32 space = ioas();
  std::byte* memory = buffer();
  ASSERT_EQ(attach(device, space), 0);
  ASSERT_EQ(map(space, memory, kPageSize, 0x10000), 0);
  abi::IoasNoiommuGetPa g{};
  ASSERT_EQ(get_pa(space, 0x10000, kMax, g), 0);
  device_none.port->set_bus_master(false);
  EXPECT_FALSE(poke(device_none, g.out_phys, 1));
  EXPECT_EQ(faults.reasons.back(), iommu::FaultReason::kBusMasterOff);
}

TEST_F(Engine, noiommu_dma_to_the_address_of_page_i_changes_page_i_only) {
  core::Device& device = bind(device_none);
  const u32 space = ioas();
  std::byte* memory = buffer();
  ASSERT_EQ(attach(device, space), 0);
  ASSERT_EQ(map(space, memory, kBufferSize, 0x10000), 0);
  for (u64 page = 0; page < 64; ++page) {
    abi::IoasNoiommuGetPa g{};
    ASSERT_EQ(get_pa(space, 0x10000 + page * kPageSize, kMax, g), 0);
    EXPECT_EQ(g.length, kPageSize);  // fragmented: the next page is elsewhere
    std::memset(memory, 0, kBufferSize);
    ASSERT_TRUE(poke(device_none, g.out_phys + 7, 9));
    for (u64 i = 0; i < kBufferSize; ++i)
      ASSERT_EQ(memory[i], std::byte(i == page * kPageSize + 7 ? 9 : 0)) << page << " " << i;
  }
}

TEST_F(Engine, one_page_has_one_physical_address_wherever_it_is_mapped) {
  core::Device& one = bind(device_none);
  core::Device& two = bind(device_none2);
  const u32 a = ioas();
  const u32 b = ioas();
  std::byte* memory = buffer();
  ASSERT_EQ(attach(one, a), 0);
  ASSERT_EQ(attach(two, b), 0);
  ASSERT_EQ(map(a, memory, 4 * kPageSize, 0x10000), 0);
  ASSERT_EQ(map(a, memory + kPageSize, kPageSize, 0x90000), 0);
  ASSERT_EQ(map(b, memory, 2 * kPageSize, 0x40000), 0);
  abi::IoasNoiommuGetPa x{}, y{}, z{};
  ASSERT_EQ(get_pa(a, 0x11000, 1, x), 0);
  ASSERT_EQ(get_pa(a, 0x90000, 1, y), 0);
  ASSERT_EQ(get_pa(b, 0x41000, 1, z), 0);
  EXPECT_EQ(x.out_phys, y.out_phys);
  EXPECT_EQ(x.out_phys, z.out_phys);
  ASSERT_EQ(unmap(a, 0x10000, 4 * kPageSize), 0);
  EXPECT_TRUE(poke(device_none, x.out_phys, 1));  // still pinned by two
  ASSERT_EQ(unmap(a, 0x90000, kPageSize), 0);
  ASSERT_EQ(unmap(b, 0x40000, 2 * kPageSize), 0);
  EXPECT_FALSE(poke(device_none, x.out_phys, 2));
  EXPECT_EQ(faults.reasons.back(), iommu::FaultReason::kNotPinned);
  EXPECT_EQ(memory[kPageSize], std::byte{1});
  ASSERT_EQ(map(a, memory + kPageSize, kPageSize, 0x10000), 0);
  ASSERT_EQ(get_pa(a, 0x10000, 1, y), 0);
  EXPECT_EQ(x.out_phys, y.out_phys);
}

TEST_F(Engine, get_pa_follows_the_check_order) {
  core::Device& device = bind(device_none);
  const u32 space = ioas();
  std::byte* memory = buffer();
  abi::IoasNoiommuGetPa g{};
  caller.dropped = {mem::Capability::kSysRawio};
  g = {0, 1, 77, 1, kMax, 0, 0};
  EXPECT_EQ(call(IommuCommand::kIoasNoiommuGetPa, g), EPERM);
  caller.dropped.clear();
  EXPECT_EQ(call(IommuCommand::kIoasNoiommuGetPa, g), EOPNOTSUPP);
  EXPECT_EQ(get_pa(77, kMax, 0, g), EINVAL);
  EXPECT_EQ(get_pa(77, kMax, 1, g), EOVERFLOW);
  EXPECT_EQ(get_pa(77, 0x1000, 1, g), ENOENT);
  EXPECT_EQ(get_pa(space, 0x10000, 1, g), ENOENT);
  ASSERT_EQ(map(space, memory, 8 * kPageSize, 0x10000), 0);
  EXPECT_EQ(get_pa(space, 0x10000, 1, g), EOPNOTSUPP);
  const u32 table = hwpt(device, space);
  ASSERT_EQ(get_pa(space, 0x10080, kMax, g), 0);
  EXPECT_EQ(g.length, kPageSize - 0x80);
  ASSERT_EQ(get_pa(space, 0x10080, 16, g), 0);
  EXPECT_EQ(g.length, 16u);
  EXPECT_EQ(destroy(table), 0);
  EXPECT_EQ(get_pa(space, 0x10000, 1, g), EOPNOTSUPP);
}

TEST_F(Engine, contiguous_memory_gives_long_runs_that_end_with_the_mapping) {
  TearDown();
  boot({.kind = mem::PhysPolicy::Kind::kContiguous});
  core::Device& device = bind(device_none);
  const u32 space = ioas();
  buffers.clear();
  std::byte* memory = buffer();
  ASSERT_EQ(attach(device, space), 0);
  ASSERT_EQ(map(space, memory, 32 * kPageSize, 0x10000), 0);
  ASSERT_EQ(map(space, memory + 32 * kPageSize, 32 * kPageSize, 0x10000 + 32 * kPageSize), 0);
  abi::IoasNoiommuGetPa g{};
  ASSERT_EQ(get_pa(space, 0x10000, kMax, g), 0);
  EXPECT_EQ(g.length, 32 * kPageSize);
  ASSERT_EQ(get_pa(space, 0x10000 + kPageSize / 2, kMax, g), 0);
  EXPECT_EQ(g.length, 32 * kPageSize - kPageSize / 2);
}

TEST_F(Engine, noiommu_first_then_iommu_in_one_ioas_keeps_get_pa) {
  core::Device& none = bind(device_none);
  core::Device& behind = bind(device_amd);
  const u32 space = ioas();
  std::byte* memory = buffer();
  u32 soft = 0;
  u32 hard = 0;
  ASSERT_EQ(attach(none, space, &soft), 0);
  ASSERT_EQ(attach(behind, space, &hard), 0);
  EXPECT_NE(soft, hard);
  ASSERT_EQ(map(space, memory, kPageSize, 0x10000), 0);
  abi::IoasNoiommuGetPa g{};
  EXPECT_EQ(get_pa(space, 0x10000, 1, g), 0);
  EXPECT_TRUE(poke(device_amd, 0x10000, 3));
  EXPECT_TRUE(poke(device_none, g.out_phys + 1, 4));
  EXPECT_EQ(memory[0], std::byte{3});
  EXPECT_EQ(memory[1], std::byte{4});
  // Replace of the IOMMU device on the same IOAS meets the noiommu HWPT first: ENODEV, the old attachment stays.
  EXPECT_EQ(attach(behind, space), ENODEV);
  EXPECT_TRUE(poke(device_amd, 0x10000, 5));
}

TEST_F(Engine, iommu_first_then_noiommu_joins_the_real_hwpt_and_has_no_physical_addresses) {
  core::Device& behind = bind(device_amd);
  core::Device& none = bind(device_none);
  const u32 space = ioas();
  std::byte* memory = buffer();
  u32 hard = 0;
  u32 joined = 0;
  ASSERT_EQ(attach(behind, space, &hard), 0);
  ASSERT_EQ(attach(none, space, &joined), 0);
  EXPECT_EQ(hard, joined);
  ASSERT_EQ(map(space, memory, kPageSize, 0x10000), 0);
  abi::IoasNoiommuGetPa g{};
  EXPECT_EQ(get_pa(space, 0x10000, 1, g), EOPNOTSUPP);
}

TEST_F(Engine, hwpt_alloc_for_a_noiommu_device_takes_no_flags) {
  core::Device& device = bind(device_none);
  const u32 space = ioas();
  for (const u32 flags : {1u, 2u, 8u, 5u, 16u}) hwpt(device, space, flags, EOPNOTSUPP);
  hwpt(device, space, abi::HwptAlloc::kFaultIdValid, ENOENT);
  const u32 table = hwpt(device, space);
  hwpt(device, table, 0, EOPNOTSUPP);
  hwpt(device, id(device), 0, EINVAL);
  hwpt(device, 99, 0, EINVAL);
  u32 pt = 0;
  EXPECT_EQ(attach(device, table, &pt), 0);
  EXPECT_EQ(pt, table);
  EXPECT_EQ(attach(device, space, &pt, 5), EINVAL);  // PASIDs need a HWPT for PASIDs
}

}  // namespace
}  // namespace iommufd

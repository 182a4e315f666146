// SPDX-License-Identifier: BSD-3-Clause
// Objects, attachments, maps and DMA behind an IOMMU. Devices without one are in engine_noiommu_test.cpp.
#include <unistd.h>

#include <array>
#include <cstring>

#include "abi/iommufd_test.hpp"
#include "selftest/world.hpp"
#include "tests/unit/ioctl/engine_fixture.hpp"

namespace iommufd {
namespace {

TEST_F(Engine, the_test_abi_is_there_only_when_it_was_asked_for) {
  abi::TestCmd cmd{};
  cmd.size = sizeof cmd;
  const auto answer = [&] { return file->ioctl(caller, abi::kIommuTestCommand, std::bit_cast<u64>(&cmd)); };
  EXPECT_EQ(answer().error(), Errno::kNoTty);
  EXPECT_EQ(file->ioctl(caller, abi::kIommuTestCommand, 0).error(), Errno::kNoTty);  // the pointer is not looked at
  selftest::World world(*platform);
  file = make_ref<ioctl::IommuFile>(*platform, &world);
  EXPECT_EQ(answer().error(), Errno::kOpNotSupp);
  file = nullptr;
}

TEST_F(Engine, ids_are_the_lowest_free_ones) {
  EXPECT_EQ(ioas(), 1u);
  EXPECT_EQ(ioas(), 2u);
  EXPECT_EQ(ioas(), 3u);
  EXPECT_EQ(destroy(2), 0);
  EXPECT_EQ(destroy(1), 0);
  EXPECT_EQ(ioas(), 1u);
  EXPECT_EQ(ioas(), 2u);
  EXPECT_EQ(destroy(9), ENOENT);
}

TEST_F(Engine, attaching_to_an_ioas_makes_an_automatic_hwpt_that_ends_with_the_attachment) {
  for (core::PhysicalDevice* physical : {&device_amd, &device_vtd, &device_none}) {
    core::Device& device = bind(*physical);
    const u32 space = ioas();
    u32 table = 0;
    ASSERT_EQ(attach(device, space, &table), 0);
    EXPECT_NE(table, space);
    EXPECT_EQ(destroy(space), EBUSY);
    EXPECT_EQ(destroy(table), EBUSY);
    EXPECT_EQ(destroy(id(device)), EBUSY);
    device.detach(core::kRid);
    EXPECT_EQ(destroy(table), ENOENT);
    device.detach(core::kRid);
    EXPECT_EQ(destroy(space), 0);
  }
}

TEST_F(Engine, replace_moves_and_frees_the_old_automatic_hwpt) {
  core::Device& device = bind(device_none);
  const u32 a = ioas();
  const u32 b = ioas();
  u32 first = 0;
  u32 second = 0;
  ASSERT_EQ(attach(device, a, &first), 0);
  ASSERT_EQ(attach(device, b, &second), 0);
  EXPECT_EQ(destroy(first), ENOENT);
  u32 same = 0;
  ASSERT_EQ(attach(device, b, &same), 0);
  EXPECT_EQ(same, second);
}

TEST_F(Engine, dma_behind_an_iommu_follows_the_table_and_stops_with_it) {
  for (core::PhysicalDevice* physical : {&device_amd, &device_vtd}) {
    core::Device& device = bind(*physical);
    const u32 space = ioas();
    std::byte* memory = buffer();
    EXPECT_FALSE(poke(*physical, 0x10000, 1));  // blocked
    ASSERT_EQ(attach(device, space), 0);
    ASSERT_EQ(map(space, memory, kBufferSize, 0x10000), 0);
    EXPECT_TRUE(poke(*physical, 0x10005, 0x5a));
    EXPECT_EQ(memory[5], std::byte{0x5a});
    std::array<std::byte, 3 * kPageSize> got;
    std::memset(memory, 0x33, 4 * kPageSize);
    EXPECT_TRUE(physical->port->read(0x10800, got));
    EXPECT_EQ(got[got.size() - 1], std::byte{0x33});
    ASSERT_EQ(unmap(space, 0x10000, kBufferSize), 0);
    EXPECT_FALSE(poke(*physical, 0x10005, 0x77));
    EXPECT_EQ(memory[5], std::byte{0x33});
    EXPECT_EQ(faults.reasons.back(), iommu::FaultReason::kNotPresent);
  }
}

TEST_F(Engine, a_read_only_mapping_blocks_writes_behind_an_iommu) {
  core::Device& device = bind(device_amd);
  const u32 space = ioas();
  std::byte* memory = buffer();
  ASSERT_EQ(attach(device, space), 0);
  ASSERT_EQ(map(space, memory, kPageSize, 0x10000, abi::IoasMap::kReadable), 0);
  EXPECT_FALSE(poke(device_amd, 0x10000, 1));
  EXPECT_EQ(memory[0], std::byte{0});
  EXPECT_EQ(faults.reasons.back(), iommu::FaultReason::kNoWriteAccess);
  std::byte b{};
  EXPECT_TRUE(device_amd.port->read(0x10000, std::span(&b, 1)));
}

TEST_F(Engine, attach_pins_what_was_mapped_before_and_a_bad_address_undoes_it) {
  core::Device& device = bind(device_amd);
  const u32 space = ioas();
  std::byte* memory = buffer();
  ASSERT_EQ(map(space, memory, 4 * kPageSize, 0x10000), 0);
  EXPECT_EQ(platform->phys().pinned_frames(), 0u);
  ASSERT_EQ(map(space, std::bit_cast<void*>(u64{0x1000}), kPageSize, 0x90000), 0);
  EXPECT_EQ(attach(device, space), EFAULT);
  EXPECT_EQ(platform->phys().pinned_frames(), 0u);
  abi::IoasIovaRanges r{};
  r.ioas_id = space;
  std::array<abi::IovaRange, 4> slots{};
  r.num_iovas = 4;
  r.allowed_iovas = std::bit_cast<u64>(slots.data());
  ASSERT_EQ(call(IommuCommand::kIoasIovaRanges, r), 0);
  EXPECT_EQ(r.num_iovas, 1u);
  EXPECT_EQ(r.out_iova_alignment, 1u);
  ASSERT_EQ(unmap(space, 0x90000, kPageSize), 0);
  ASSERT_EQ(attach(device, space), 0);
  EXPECT_EQ(platform->phys().pinned_frames(), 4u);
  r.num_iovas = 4;
  ASSERT_EQ(call(IommuCommand::kIoasIovaRanges, r), 0);
  EXPECT_EQ(r.num_iovas, 3u);  // the MSI window and HyperTransport's range are left out
  EXPECT_EQ(slots[0].last, 0xfedfffffu);
  EXPECT_EQ(r.out_iova_alignment, 4096u);
}

// A file that ends before the range has no such pages, however far it reaches (iommufd-core 3.6).
TEST_F(Engine, a_range_far_past_the_end_of_a_file_is_invalid) {
  const u32 space = ioas();
  const Fd memory(::memfd_create("test", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(memory.get(), kPageSize), 0);
  abi::IoasMapFile m{.size = 0,
                     .flags = kRw | abi::IoasMapFile::kFixedIova,
                     .ioas_id = space,
                     .fd = memory.get(),
                     .start = u64{1} << 50,
                     .length = kPageSize,
                     .iova = 0x10000};
  ASSERT_EQ(call(IommuCommand::kIoasMapFile, m), 0);
  hwpt(bind(device_amd), space, 0, EINVAL);
}

TEST_F(Engine, two_contexts_cannot_own_one_group) {
  core::Device& device = bind(device_amd);
  const Ref<ioctl::IommuFile> second = make_ref<ioctl::IommuFile>(*platform);
  EXPECT_EQ(core::Device::bind(second->context(), device_amd).error(), Errno::kPerm);
  device.unbind();
  bound.clear();
  const Result<Ref<core::Device>> again = core::Device::bind(second->context(), device_amd);
  ASSERT_TRUE(again);
  (*again)->unbind();
}

TEST_F(Engine, a_context_outlives_its_file_while_a_device_is_bound) {
  core::Device& device = bind(device_none);
  const u32 space = ioas();
  const u32 unused = ioas();
  std::byte* memory = buffer();
  ASSERT_EQ(map(space, memory, kPageSize, 0x10000), 0);
  ASSERT_EQ(attach(device, unused), 0);
  file->release();
  file = nullptr;
  EXPECT_EQ(platform->phys().pinned_frames(), 0u);
  EXPECT_EQ(attach(device, space), 0);  // its objects are all still there
  EXPECT_EQ(platform->phys().pinned_frames(), 1u);
}

TEST_F(Engine, unmap_removes_whole_mappings_only) {
  const u32 space = ioas();
  std::byte* memory = buffer();
  ASSERT_EQ(map(space, memory, 0x1000, 0x10000), 0);
  ASSERT_EQ(map(space, memory, 0x2000, 0x20000), 0);
  EXPECT_EQ(unmap(space, 0x10000, 0x11000), ENOENT);
  EXPECT_EQ(unmap(space, 0x10000, 0x1000), ENOENT);  // the first went all the same
  abi::IoasUnmap all{0, space, 0, kMax};
  EXPECT_EQ(call(IommuCommand::kIoasUnmap, all), 0);
  EXPECT_EQ(all.length, 0x2000u);
}

TEST_F(Engine, copy_shares_pages_and_refuses_more_rights) {
  const u32 a = ioas();
  const u32 b = ioas();
  std::byte* memory = buffer();
  ASSERT_EQ(map(a, memory, 0x1000, 0x10000), 0);
  ASSERT_EQ(map(a, memory + 0x1000, 0x1000, 0x11000, abi::IoasMap::kReadable), 0);
  abi::IoasCopy copy{0, kRw | abi::IoasCopy::kFixedIova, b, a, 0x2000, 0x40000, 0x10000};
  EXPECT_EQ(call(IommuCommand::kIoasCopy, copy), EPERM);
  copy = {0, abi::IoasCopy::kReadable | abi::IoasCopy::kFixedIova, b, a, 0x2000, 0x40000, 0x10000};
  ASSERT_EQ(call(IommuCommand::kIoasCopy, copy), 0);
  EXPECT_EQ(unmap(b, 0x40000, 0x1000), 0);
  EXPECT_EQ(unmap(b, 0x41000, 0x1000), 0);
  copy.src_iova = 0x12000;
  EXPECT_EQ(call(IommuCommand::kIoasCopy, copy), ENOENT);
}

}  // namespace
}  // namespace iommufd

// SPDX-License-Identifier: BSD-3-Clause
// The limit of locked memory: what counts, and what is refused before it is looked at.
#include "abi/vfio_type1.hpp"
#include "core/access.hpp"
#include "tests/unit/ioctl/engine_fixture.hpp"

namespace iommufd {
namespace {

TEST_F(Engine, memlock_counts_distinct_pages_and_gives_them_back) {
  caller.dropped = {mem::Capability::kIpcLock};
  core::Device& device = bind(device_none);
  const u32 space = ioas();
  const u32 other = ioas();
  std::byte* memory = buffer();
  ASSERT_EQ(map(space, memory, 10 * kPageSize, 0x10000), 0);
  EXPECT_EQ(caller.process()->user_locked().pages(), 0u);
  ASSERT_EQ(attach(device, space), 0);
  EXPECT_EQ(caller.process()->user_locked().pages(), 10u);
  abi::IoasCopy copy{0, kRw | abi::IoasCopy::kFixedIova, other, space, 10 * kPageSize, 0x10000, 0x10000};
  ASSERT_EQ(call(IommuCommand::kIoasCopy, copy), 0);
  hwpt(device, other);
  EXPECT_EQ(caller.process()->user_locked().pages(), 10u);
  ASSERT_EQ(unmap(space, 0x10000, 10 * kPageSize), 0);
  EXPECT_EQ(caller.process()->user_locked().pages(), 10u);
  ASSERT_EQ(unmap(other, 0x10000, 10 * kPageSize), 0);
  EXPECT_EQ(caller.process()->user_locked().pages(), 0u);
}

// May lock so many pages.
struct Frugal final : mem::Process {
  explicit Frugal(u64 limit) : Process(make_ref<mem::Account>()), limit(limit) {}
  Result<u64> memlock_limit() override { return limit; }
  const u64 limit;
};

// What the page table refuses anyway is refused as that: the limit is looked at last (iommufd-core 4.4, 6.4).
TEST_F(Engine, a_mapping_without_rights_is_invalid_even_above_the_limit) {
  caller.dropped = {mem::Capability::kIpcLock};
  caller.become(make_ref<Frugal>(u64{0}));
  const u32 space = ioas();
  const u32 later = ioas();
  hwpt(bind(device_amd), space);
  std::byte* memory = buffer();
  EXPECT_EQ(map(space, memory, kPageSize, 0x10000), ENOMEM);
  const auto map_dma = [&](u32 into) {
    abi::VfioIoas compat{0, into, abi::VfioIoas::kSet, 0};
    EXPECT_EQ(call(IommuCommand::kVfioIoas, compat), 0);
    abi::VfioType1DmaMap m{sizeof m, 0, std::bit_cast<u64>(memory), 0x10000, kPageSize};
    const u32 command = static_cast<u32>(abi::VfioContainerCommand::kIommuMapDma);
    const Result<s64> r = file->ioctl(caller, command, std::bit_cast<u64>(&m));
    return r ? 0 : static_cast<int>(r.error());
  };
  EXPECT_EQ(map_dma(space), EINVAL);
  ASSERT_EQ(map_dma(later), 0);
  hwpt(*bound.front(), later, 0, EINVAL);
}

// The same of a page that is not there, behind one that is pinned already.
TEST_F(Engine, a_page_that_cannot_be_had_is_reported_before_the_limit) {
  caller.dropped = {mem::Capability::kIpcLock};
  caller.become(make_ref<Frugal>(u64{1}));
  const u32 space = ioas();
  std::byte* memory = buffer();
  ASSERT_EQ(map(space, memory, 3 * kPageSize, 0x10000), 0);
  ASSERT_EQ(::mprotect(memory + 2 * kPageSize, kPageSize, PROT_NONE), 0);
  struct Silent final : core::AccessDriver {
    void unmap(u64, u64) override {}
  } driver;
  const Ref<core::IoasAccess> access = *core::IoasAccess::create(file->context(), core::Pinning::kAllowed, driver);
  ASSERT_TRUE(access->attach(ObjectId{space}));
  std::vector<PhysAddr> frames;
  ASSERT_TRUE(access->pin(0x11000, kPageSize, Access::kRead, frames));
  hwpt(bind(device_amd), space, 0, EFAULT);
  EXPECT_EQ(caller.process()->user_locked().pages(), 1u);
  access->unpin(0x11000, kPageSize);
  access->destroy();
}

}  // namespace
}  // namespace iommufd

// SPDX-License-Identifier: BSD-3-Clause
// A context as a VFIO container: what a group that joins it changes (spec iommufd-core 6.1, rows T28 to T30 of 7.9), and
// mappings that are not split (4.7, T22d, T23). The rest of the container is in tests/conformance/vfio_compat.c.
#include "abi/iommufd.hpp"
#include "abi/vfio_type1.hpp"
#include "core/access.hpp"
#include "core/ioas.hpp"
#include "ioctl/iommu_file.hpp"
#include "iommu/platform.hpp"
#include "tests/support/local_call.hpp"

namespace iommufd {
namespace {

using abi::VfioContainerCommand;
using core::ContainerKind;

class VfioCompat : public testing::Test {
 protected:
  // The value, or minus the errno.
  s64 call(VfioContainerCommand command, u64 argument) {
    const Result<s64> r = file->ioctl(caller, static_cast<u32>(command), argument);
    return r ? *r : -s64{static_cast<int>(r.error())};
  }
  s64 extension(u64 number) { return call(VfioContainerCommand::kCheckExtension, number); }
  s64 set_iommu(u64 type) { return call(VfioContainerCommand::kSetIommu, type); }
  template <class T>
  s64 command(abi::IommuCommand number, T& cmd) {
    cmd.size = sizeof cmd;
    const Result<s64> r = file->ioctl(caller, static_cast<u32>(number), std::bit_cast<u64>(&cmd));
    return r ? *r : -s64{static_cast<int>(r.error())};
  }
  s64 vfio_ioas(u16 op, u32& id) {
    abi::VfioIoas cmd{0, id, op, 0};
    const s64 r = command(abi::IommuCommand::kVfioIoas, cmd);
    id = cmd.ioas_id;
    return r;
  }
  Errno enter(ContainerKind kind) {
    const Result<void> r = file->context()->enter_container(kind);
    return r ? Errno{} : r.error();
  }

  test::LocalCall caller;
  std::unique_ptr<iommu::Platform> platform = *iommu::Platform::create({});
  Ref<ioctl::IommuFile> file = make_ref<ioctl::IommuFile>(*platform);
};

TEST_F(VfioCompat, a_group_makes_the_compat_ioas_once) {
  u32 id = 0;
  EXPECT_EQ(vfio_ioas(abi::VfioIoas::kGet, id), -ENODEV);
  EXPECT_EQ(enter(ContainerKind::kType1), Errno{});
  EXPECT_EQ(vfio_ioas(abi::VfioIoas::kGet, id), 0);
  EXPECT_EQ(id, 1u);
  EXPECT_EQ(enter(ContainerKind::kType1), Errno{});
  EXPECT_EQ(vfio_ioas(abi::VfioIoas::kGet, id), 0);
  EXPECT_EQ(id, 1u);
  abi::IoasAlloc next{};
  EXPECT_EQ(command(abi::IommuCommand::kIoasAlloc, next), 0);
  EXPECT_EQ(next.out_ioas_id, 2u);
  abi::Destroy destroy{0, 1};
  EXPECT_EQ(command(abi::IommuCommand::kDestroy, destroy), 0);
  EXPECT_EQ(vfio_ioas(abi::VfioIoas::kGet, id), -ENODEV);
}

TEST_F(VfioCompat, a_group_without_an_iommu_needs_a_context_without_compat_ioas) {
  EXPECT_EQ(enter(ContainerKind::kType1), Errno{});
  EXPECT_EQ(enter(ContainerKind::kNoiommu), Errno::kInval);
  EXPECT_EQ(extension(1), 1);
}

TEST_F(VfioCompat, noiommu_mode_refuses_type1_and_is_never_left) {
  EXPECT_EQ(enter(ContainerKind::kNoiommu), Errno{});
  EXPECT_EQ(enter(ContainerKind::kNoiommu), Errno{});
  EXPECT_EQ(enter(ContainerKind::kType1), Errno::kInval);
  for (const u64 number : {1, 3, 9}) EXPECT_EQ(extension(number), 0);
  EXPECT_EQ(extension(8), 1);
  EXPECT_EQ(set_iommu(3), -EINVAL);
  EXPECT_EQ(set_iommu(1), -EINVAL);
  EXPECT_EQ(set_iommu(8), 0);
  caller.dropped.insert(mem::Capability::kSysRawio);
  EXPECT_EQ(set_iommu(8), -EPERM);
  EXPECT_EQ(set_iommu(2), -EINVAL);
}

TEST_F(VfioCompat, an_ioas_can_be_set_and_mapped_in_noiommu_mode) {
  EXPECT_EQ(enter(ContainerKind::kNoiommu), Errno{});
  abi::VfioType1DmaMap map{sizeof map, 3, 0x10000, 0x20000, kPageSize};
  const auto map_dma = [&] { return call(VfioContainerCommand::kIommuMapDma, std::bit_cast<u64>(&map)); };
  EXPECT_EQ(map_dma(), -ENODEV);
  abi::IoasAlloc ioas{};
  EXPECT_EQ(command(abi::IommuCommand::kIoasAlloc, ioas), 0);
  EXPECT_EQ(vfio_ioas(abi::VfioIoas::kSet, ioas.out_ioas_id), 0);
  EXPECT_EQ(map_dma(), 0);
  EXPECT_EQ(map_dma(), -EEXIST);
  EXPECT_EQ(set_iommu(1), -EINVAL);
  EXPECT_EQ(extension(1), 0);
}

// A container of version 1 with IOAS 1.
class VfioVersion1 : public VfioCompat {
 protected:
  static constexpr u64 kIova = 0x20000;
  void SetUp() override {
    ASSERT_EQ(enter(ContainerKind::kType1), Errno{});
    ASSERT_EQ(set_iommu(1), 0);
  }
  s64 unmap_page(u64 page) {
    abi::VfioType1DmaUnmap unmap{sizeof unmap, 0, kIova + page * kPageSize, kPageSize};
    const s64 r = call(VfioContainerCommand::kIommuUnmapDma, std::bit_cast<u64>(&unmap));
    EXPECT_EQ(unmap.size, kPageSize) << "as asked, or not written back";
    return r;
  }
};

// Pins a page and gives it up when it is asked to, after trying to have the mapping split.
struct Pinner final : core::AccessDriver {
  explicit Pinner(std::function<void()> when_asked) : when_asked_(std::move(when_asked)) {}
  void unmap(u64, u64) override {
    when_asked_();
    if (pinned) access->unpin(pinned, kPageSize);
    pinned = 0;
  }
  std::function<void()> when_asked_;
  Ref<core::IoasAccess> access;
  u64 pinned = 0;
};

TEST_F(VfioVersion1, a_mapping_that_an_access_has_pinned_is_not_split) {
  alignas(kPageSize) static std::array<std::byte, 4 * kPageSize> memory;
  s64 while_unmapped = 0;
  Pinner pinner([&] { while_unmapped = unmap_page(2); });
  pinner.access = *core::IoasAccess::create(file->context(), core::Pinning::kAllowed, pinner);
  ASSERT_TRUE(pinner.access->attach(ObjectId{1}));
  abi::VfioType1DmaMap map{sizeof map, 3, std::bit_cast<u64>(memory.data()), kIova, memory.size()};
  ASSERT_EQ(call(VfioContainerCommand::kIommuMapDma, std::bit_cast<u64>(&map)), 0);
  std::vector<PhysAddr> frames;
  ASSERT_TRUE(pinner.access->pin(kIova, kPageSize, Access::kRead, frames));
  pinner.pinned = kIova;
  EXPECT_EQ(unmap_page(2), -EINVAL);
  EXPECT_EQ(unmap_page(0), -EINVAL);
  // The whole of it may go: the access gives up its page, and meanwhile the mapping counts as busy.
  abi::VfioType1DmaUnmap all{sizeof all, abi::VfioType1DmaUnmap::kAll, 0, 0};
  EXPECT_EQ(call(VfioContainerCommand::kIommuUnmapDma, std::bit_cast<u64>(&all)), 0);
  EXPECT_EQ(all.size, memory.size());
  EXPECT_EQ(while_unmapped, -EBUSY);
  EXPECT_EQ(pinner.pinned, 0u);
  pinner.when_asked_ = [] {};
  pinner.access->destroy();
}

// Memory of a device, which nothing here touches.
struct DeviceMemory final : mem::AddressSpace {
  Result<std::size_t> read_some(UserVa, std::span<std::byte>) override { return Err(Errno::kFault); }
  Result<std::size_t> write_some(UserVa, std::span<const std::byte>) override { return Err(Errno::kFault); }
  Result<void> populate(UserVa, u64, Access, std::vector<mem::PageRun>&) override { return Err(Errno::kFault); }
  std::byte* direct(UserVa) override { return nullptr; }
  [[nodiscard]] mem::Backing backing() const override { return mem::Backing::kDmaBuf; }
};

TEST_F(VfioVersion1, memory_of_a_device_is_not_split) {
  core::Use<core::Ioas> ioas = *file->context()->get<core::Ioas>(ObjectId{1});
  const core::MapRequest request{kIova, 4 * kPageSize, core::Placement::kFixed, Access::kReadWrite};
  ASSERT_TRUE(ioas->map(request, make_ref<DeviceMemory>(), 0, caller.process(), mem::ChargeMode::kExempt));
  EXPECT_EQ(unmap_page(1), -EOPNOTSUPP);
  abi::IoasChangeProcess change{};
  EXPECT_EQ(command(abi::IommuCommand::kIoasChangeProcess, change), -EINVAL);
}

TEST_F(VfioCompat, commands_have_names) {
  EXPECT_STREQ(file->command_name(0x3B71), "VFIO_IOMMU_MAP_DMA");
  EXPECT_STREQ(file->command_name(0x3B85), "IOMMU_IOAS_MAP");
  EXPECT_STREQ(file->command_name(0x3B75), "VFIO_IOMMU_DIRTY_PAGES");  // ENOTTY here, and known by its name
  EXPECT_EQ(file->command_name(0x3B76), nullptr);
  EXPECT_EQ(file->command_name(0x3BFF), nullptr);
}

}  // namespace
}  // namespace iommufd

// SPDX-License-Identifier: BSD-3-Clause
// The engine as a program that links it sees it: raw uapi structs into an IommuFile, devices of both kinds, DMA.
#include <sys/mman.h>

#include <bit>
#include <cstring>

#include "abi/iommufd.hpp"
#include "abi/iommufd_test.hpp"
#include "abi/vfio_type1.hpp"
#include "core/access.hpp"
#include "core/device.hpp"
#include "ioctl/iommu_file.hpp"
#include "iommu/device_port.hpp"
#include "iommu/platform.hpp"
#include "selftest/world.hpp"
#include "tests/support/local_call.hpp"

namespace iommufd {
namespace {

using abi::IommuCommand;
constexpr u64 kMax = ~u64{0};
constexpr u32 kRw = abi::IoasMap::kReadable | abi::IoasMap::kWriteable;

struct Faults : iommu::FaultObserver {
  void dma_fault(const iommu::DmaFault& fault) override { reasons.push_back(fault.reason); }
  std::vector<iommu::FaultReason> reasons;
};

// One machine: a device behind an AMD IOMMU, one behind VT-d, two without an IOMMU.
class Engine : public testing::Test {
 protected:
  void SetUp() override { boot({}); }
  void boot(const mem::PhysPolicy& policy) {
    platform = std::move(*iommu::Platform::create(policy));
    amd = std::make_unique<iommu::Instance>(iommu::Kind::kAmd, "ivhd0", platform->tables());
    vtd = std::make_unique<iommu::Instance>(iommu::Kind::kVtd, "dmar0", platform->tables());
    ports.clear();
    add(device_amd, amd.get(), 1);
    add(device_amd2, amd.get(), 2);
    add(device_vtd, vtd.get(), 1);
    add(device_none, nullptr, 0);
    add(device_none2, nullptr, 0);
    file = make_ref<ioctl::IommuFile>(*platform);
  }
  void add(core::PhysicalDevice& device, iommu::Instance* instance, u32 group) {
    ports.push_back(std::make_unique<iommu::DevicePort>("0000:01:00.0", instance, platform->phys(), &faults));
    ports.back()->set_bus_master(true);
    device = {"0000:01:00.0", instance, ports.back().get(), group,
              instance == nullptr ? std::vector<IovaRange>{} : instance->reserved_regions()};
  }
  void TearDown() override {
    for (const Ref<core::Device>& d : bound) d->unbind();
    bound.clear();
    if (file) file->release();
    file = nullptr;
    EXPECT_EQ(platform->phys().pinned_frames(), 0u);
    EXPECT_EQ(platform->tables().pages_in_use(), 0u);
    for (std::byte* p : buffers) ::munmap(p, kBufferSize);
  }

  // 0, or the errno.
  template <class T>
  int call(IommuCommand command, T& cmd) {
    cmd.size = sizeof cmd;
    const Result<s64> r = file->ioctl(caller, static_cast<u32>(command), std::bit_cast<u64>(&cmd));
    return r ? 0 : static_cast<int>(r.error());
  }
  u32 ioas() {
    abi::IoasAlloc a{};
    EXPECT_EQ(call(IommuCommand::kIoasAlloc, a), 0);
    return a.out_ioas_id;
  }
  core::Device& bind(core::PhysicalDevice& device) {
    bound.push_back(*core::Device::bind(file->context(), device));
    return *bound.back();
  }
  static u32 id(const core::Device& d) { return std::to_underlying(d.id()); }
  int attach(core::Device& device, u32 pt, u32* out = nullptr, core::Pasid pasid = 0) {
    const Result<ObjectId> r = device.attach_or_replace(pasid, ObjectId{pt});
    if (r && out != nullptr) *out = std::to_underlying(*r);
    return r ? 0 : static_cast<int>(r.error());
  }
  int map(u32 ioas_id, const void* va, u64 length, u64 iova, u32 flags = kRw) {
    abi::IoasMap m{.size = 0,
                   .flags = flags | abi::IoasMap::kFixedIova,
                   .ioas_id = ioas_id,
                   .reserved = 0,
                   .user_va = std::bit_cast<u64>(va),
                   .length = length,
                   .iova = iova};
    return call(IommuCommand::kIoasMap, m);
  }
  int unmap(u32 ioas_id, u64 iova, u64 length) {
    abi::IoasUnmap u{0, ioas_id, iova, length};
    return call(IommuCommand::kIoasUnmap, u);
  }
  int get_pa(u32 ioas_id, u64 iova, u64 length, abi::IoasNoiommuGetPa& g) {
    g = {0, 0, ioas_id, 0, iova, length, 0};
    return call(IommuCommand::kIoasNoiommuGetPa, g);
  }
  int destroy(u32 object) {
    abi::Destroy d{0, object};
    return call(IommuCommand::kDestroy, d);
  }
  u32 hwpt(core::Device& device, u32 pt, u32 flags = 0, int expect = 0) {
    abi::HwptAlloc a{};
    a.flags = flags;
    a.dev_id = id(device);
    a.pt_id = pt;
    EXPECT_EQ(call(IommuCommand::kHwptAlloc, a), expect);
    return a.out_hwpt_id;
  }
  std::byte* buffer() {
    void* p = ::mmap(nullptr, kBufferSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    buffers.push_back(static_cast<std::byte*>(p));
    return buffers.back();
  }
  static Result<void> poke(core::PhysicalDevice& device, u64 addr, u8 value) {
    const std::byte b{value};
    return device.port->write(addr, std::span(&b, 1));
  }

  static constexpr u64 kBufferSize = u64{64} * kPageSize;
  Faults faults;
  test::LocalCall caller;
  std::unique_ptr<iommu::Platform> platform;
  std::unique_ptr<iommu::Instance> amd, vtd;
  std::vector<std::unique_ptr<iommu::DevicePort>> ports;
  core::PhysicalDevice device_amd, device_amd2, device_vtd, device_none, device_none2;
  Ref<ioctl::IommuFile> file;
  std::vector<Ref<core::Device>> bound;
  std::vector<std::byte*> buffers;
};

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
  EXPECT_EQ(r.num_iovas, 2u);  // the MSI window is left out
  EXPECT_EQ(slots[0].last, 0xfedfffffu);
  EXPECT_EQ(r.out_iova_alignment, 4096u);
}

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

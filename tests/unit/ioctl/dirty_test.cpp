// SPDX-License-Identifier: BSD-3-Clause
// What dirty tracking is for: memory is copied while a device writes it, page by page as the bitmap says, and the copy is
// right in the end. A write that is neither in the copy nor in the next bitmap would be lost.
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <bit>
#include <cstring>
#include <random>
#include <thread>

#include "abi/iommufd.hpp"
#include "core/device.hpp"
#include "ioctl/iommu_file.hpp"
#include "iommu/device_port.hpp"
#include "iommu/platform.hpp"
#include "tests/support/local_call.hpp"

namespace iommufd {
namespace {

using abi::IommuCommand;

constexpr u64 kPages = 64;
constexpr u64 kIova = 0x100000;

class DirtyLog : public testing::TestWithParam<iommu::Kind> {
 protected:
  void SetUp() override {
    memory = static_cast<std::byte*>(
        ::mmap(nullptr, kPages * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    port.set_bus_master(true);
    device = *core::Device::bind(file->context(), physical);
    abi::IoasAlloc ioas{};
    call(IommuCommand::kIoasAlloc, ioas);
    abi::HwptAlloc alloc{};
    alloc.flags = abi::HwptAlloc::kDirtyTracking;
    alloc.dev_id = std::to_underlying(device->id());
    alloc.pt_id = ioas.out_ioas_id;
    call(IommuCommand::kHwptAlloc, alloc);
    hwpt = alloc.out_hwpt_id;
    ASSERT_TRUE(device->attach_or_replace(core::kRid, ObjectId{hwpt}));
    abi::IoasMap map{};
    map.flags = abi::IoasMap::kAllFlags;
    map.ioas_id = ioas.out_ioas_id;
    map.user_va = std::bit_cast<u64>(memory);
    map.length = kPages * kPageSize;
    map.iova = kIova;
    call(IommuCommand::kIoasMap, map);
    abi::HwptSetDirtyTracking enable{0, abi::HwptSetDirtyTracking::kEnable, hwpt, 0};
    call(IommuCommand::kHwptSetDirtyTracking, enable);
  }
  void TearDown() override {
    device->unbind();
    device = nullptr;
    file->release();
    file = nullptr;
    ::munmap(memory, kPages * kPageSize);
  }
  template <class T>
  void call(IommuCommand command, T& cmd) {
    cmd.size = sizeof cmd;
    ASSERT_TRUE(file->ioctl(caller, static_cast<u32>(command), std::bit_cast<u64>(&cmd)));
  }
  u64 dirty_pages() {
    u64 bits = 0;
    abi::HwptGetDirtyBitmap get{};
    get.hwpt_id = hwpt;
    get.iova = kIova;
    get.length = kPages * kPageSize;
    get.page_size = kPageSize;
    get.data = std::bit_cast<u64>(&bits);
    call(IommuCommand::kHwptGetDirtyBitmap, get);
    return bits;
  }

  test::LocalCall caller;
  std::unique_ptr<iommu::Platform> platform = std::move(*iommu::Platform::create({}));
  iommu::Instance instance{GetParam(), "iommu0", platform->tables()};
  iommu::DevicePort port{"0000:01:00.0", &instance, platform->phys(), nullptr};
  core::PhysicalDevice physical{"0000:01:00.0", &instance, &port, 1, {}};
  Ref<ioctl::IommuFile> file = make_ref<ioctl::IommuFile>(*platform);
  Ref<core::Device> device;
  u32 hwpt = 0;
  std::byte* memory = nullptr;
};

INSTANTIATE_TEST_SUITE_P(Kinds, DirtyLog, testing::Values(iommu::Kind::kAmd, iommu::Kind::kVtd),
                         [](const auto& info) { return std::string(iommu::kind_name(info.param)); });

TEST_P(DirtyLog, a_copy_that_follows_the_bitmap_is_right_in_the_end) {
  std::vector<std::byte> copy(kPages * kPageSize);
  std::memcpy(copy.data(), memory, copy.size());
  std::atomic<bool> stop{false};
  std::atomic<u64> writes{0};
  std::thread writer([&] {
    std::minstd_rand random(7);
    for (u64 n = 1; !stop.load(std::memory_order_relaxed); ++n) {
      const u64 at = kIova + random() % (kPages * kPageSize / 8) * 8;
      ASSERT_TRUE(port.write(at, std::as_bytes(std::span(&n, 1))));
      writes.store(n, std::memory_order_relaxed);
    }
  });
  const auto follow = [&] {
    const u64 bits = dirty_pages();
    for (u64 page = 0; page < kPages; ++page) {
      if ((bits >> page & 1) == 0) continue;
      // By the kernel, as the device writes meanwhile: what the copy meets half written is dirty again.
      const iovec from{memory + page * kPageSize, kPageSize};
      const iovec to{copy.data() + page * kPageSize, kPageSize};
      ASSERT_EQ(::process_vm_readv(::getpid(), &to, 1, &from, 1, 0), static_cast<ssize_t>(kPageSize));
    }
  };
  for (int round = 0; round < 1000 || writes.load(std::memory_order_relaxed) < 100'000; ++round) follow();
  stop.store(true, std::memory_order_relaxed);
  writer.join();
  follow();
  EXPECT_EQ(std::memcmp(copy.data(), memory, copy.size()), 0);
  EXPECT_EQ(dirty_pages(), 0u);
}

}  // namespace
}  // namespace iommufd

// SPDX-License-Identifier: BSD-3-Clause
// The engine as a program that links it sees it: raw uapi structs into an IommuFile, devices of both kinds, DMA.
#pragma once

#include <sys/mman.h>

#include <bit>
#include <memory>
#include <vector>

#include "abi/iommufd.hpp"
#include "core/device.hpp"
#include "ioctl/iommu_file.hpp"
#include "iommu/device_port.hpp"
#include "iommu/platform.hpp"
#include "tests/support/local_call.hpp"

namespace iommufd {

using abi::IommuCommand;
inline constexpr u64 kMax = ~u64{0};
inline constexpr u32 kRw = abi::IoasMap::kReadable | abi::IoasMap::kWriteable;

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

}  // namespace iommufd

// SPDX-License-Identifier: BSD-3-Clause
#include "selftest/mock_device.hpp"

#include <fmt/format.h>

#include "base/explain.hpp"
#include "core/hwpt.hpp"

namespace iommufd::selftest {
namespace {

constexpr core::Pasid kSpecialPasid = 1024;
constexpr u8 kPasidBits = 20;

}  // namespace

MockDevice::~MockDevice() = default;

Result<ObjectId> MockDevice::start(Ref<core::Context> ctx, MockIommu& iommu, u32 flags, ObjectId pt_id) {
  if ((flags & ~kAllFlags) != 0) return reject(Errno::kInval, {"dev_flags", flags, "unknown bits", "selftest-abi 3.2"});
  const u32 number = iommu.next_group();
  physical_.name = fmt::format("iommufd_mock{}", number);
  physical_.iommu = &iommu;
  physical_.group_id = number;
  physical_.hook = this;
  physical_.pasid_bits = (flags & kPasid) != 0 ? kPasidBits : u8{0};
  physical_.max_pasids = 1u << physical_.pasid_bits;
  physical_.dirty_tracking_off = (flags & kNoDirty) != 0;
  device_ = IOMMUFD_TRY(core::Device::bind(std::move(ctx), physical_, core::Binder::kContext));
  return device_->attach(core::kRid, pt_id);
}

void MockDevice::teardown() {
  if (device_) device_->unbind();
  device_ = nullptr;
}

MockDevice* MockDevice::of(const core::PhysicalDevice& device) {
  if (device.is_noiommu() || device.iommu->kind() != iommu::Kind::kMock) return nullptr;
  return static_cast<MockDevice*>(device.hook);
}

// Selftest-abi 4.2.
Result<void> MockDevice::set_pasid_locked(core::Pasid pasid, const core::HwptPaging* hwpt) {
  if (pasid != kSpecialPasid) return {};
  if (hwpt == nullptr || toggle_) {
    toggle_ = false;
    if (hwpt == nullptr) return {};
    return reject(Errno::kNoMem, {"pasid", pasid, "every second change of PASID 1024 fails", "selftest-abi 4.2"});
  }
  toggle_ = true;
  return {};
}

Result<void> MockDevice::set_hwpt(core::Pasid pasid, core::HwptPaging* hwpt) {
  if (pasid == core::kRid && hwpt != nullptr && hwpt->domain().can_track_dirty() && physical_.dirty_tracking_off)
    return reject(Errno::kInval, {"pt_id", std::to_underlying(hwpt->id()),
                                  "the HWPT tracks dirty pages and the device cannot", "selftest-abi 4.1"});
  const MutexLock lock(mu_);
  if (hwpt == nullptr) {
    used_.erase(pasid);
    return set_pasid_locked(pasid, nullptr);
  }
  const auto [entry, fresh] = used_.try_emplace(pasid, hwpt);
  if (const Result<void> set = set_pasid_locked(pasid, hwpt); !set) {
    if (fresh) used_.erase(entry);
    return set;
  }
  entry->second = hwpt;
  return {};
}

bool MockDevice::uses(core::Pasid pasid, const core::HwptPaging* hwpt) {
  const MutexLock lock(mu_);
  const auto it = used_.find(pasid);
  return (it == used_.end() ? nullptr : it->second) == hwpt;
}

}  // namespace iommufd::selftest

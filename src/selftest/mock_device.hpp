// SPDX-License-Identifier: BSD-3-Clause
// SELFTEST object: a mock device that an open of /dev/iommu made for itself (spec selftest-abi 3.2, 4). It is bound to that
// context and attached; destroying it detaches, unbinds and forgets it. Thread-safe.
//
// Lock: mu_ (kLeaf) guards what is attached.
#pragma once

#include <array>
#include <map>

#include "base/sync.hpp"
#include "core/context.hpp"
#include "core/device.hpp"
#include "selftest/mock_iommu.hpp"

namespace iommufd::selftest {

class World;

class MockDevice final : public core::Object, private core::AttachHook {
 public:
  static constexpr core::ObjectType kType = core::ObjectType::kSelftest;
  // Flags of MOCK_DOMAIN_FLAGS. kHugeIova is of 6.12 (selftest-abi 18); it changes nothing that can be seen here.
  static constexpr u32 kNoDirty = 1, kHugeIova = 2, kPasid = 4, kAllFlags = kNoDirty | kHugeIova | kPasid;
  static constexpr u32 kCacheCells = 4;
  static constexpr u32 kCacheDefault = 0x00ba'ddad;

  // Made by make_object(); then start() binds it and attaches its RID to the IOAS or HWPT `pt_id`.
  MockDevice() : Object(kType) {}
  // Returns the id of the HWPT used. Errors: kInval (flags), those of bind and attach.
  Result<ObjectId> start(Ref<core::Context> ctx, MockIommu& iommu, u32 flags, ObjectId pt_id);

  [[nodiscard]] core::Device& device() const { return *device_; }
  // Whether `hwpt` (null: nothing) is what `pasid` uses. The pointer is compared only.
  [[nodiscard]] bool uses(core::Pasid pasid, const core::HwptPaging* hwpt) IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] u32 cache(u32 cell) const { return cache_[cell]; }

  // The mock device behind a bound device; null when it is another kind.
  static MockDevice* of(const core::PhysicalDevice& device);

 private:
  ~MockDevice() override;
  void teardown() override;
  Result<void> set_hwpt(core::Pasid pasid, core::HwptPaging* hwpt) override IOMMUFD_EXCLUDES(mu_);
  Result<void> set_pasid_locked(core::Pasid pasid, const core::HwptPaging* hwpt) IOMMUFD_REQUIRES(mu_);

  core::PhysicalDevice physical_;
  Ref<core::Device> device_;
  std::array<u32, kCacheCells> cache_{kCacheDefault, kCacheDefault, kCacheDefault, kCacheDefault};
  Mutex mu_{LockRank::kLeaf};
  std::map<core::Pasid, const core::HwptPaging*> used_ IOMMUFD_GUARDED_BY(mu_);
  bool toggle_ IOMMUFD_GUARDED_BY(mu_) = false;  // of PASID 1024: every second change fails
};

}  // namespace iommufd::selftest

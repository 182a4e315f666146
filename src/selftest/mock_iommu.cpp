// SPDX-License-Identifier: BSD-3-Clause
#include "selftest/mock_iommu.hpp"

#include <array>
#include <cstring>

#include "base/explain.hpp"
#include "pt/formats.hpp"

namespace iommufd::selftest {
namespace {

constexpr const char* kSection = "selftest-abi 5.1";

// struct iommu_hwpt_selftest: u32 iotlb, for nested domains; u32 pagetable_type.
Result<pt::MockSizes> sizes_of(const iommu::UserData& data) {
  if (data.type == 0) return pt::MockSizes::kDefault;
  if (data.type != kHwptDataType)
    return reject(Errno::kOpNotSupp, {"data_type", data.type, "must be the mock's", kSection});
  constexpr u32 kSmallest = sizeof(u32);
  std::array<u32, 2> words{};
  if (data.length < kSmallest || data.length > sizeof words)
    return reject(Errno::kInval, {"data_len", data.length, "must be 4 to 8", kSection});
  IOMMUFD_TRY(data.read(std::as_writable_bytes(std::span(words)).first(data.length)));
  if (words[1] > 1) return reject(Errno::kOpNotSupp, {"pagetable_type", words[1], "must be 0 or 1", kSection});
  return words[1] == 0 ? pt::MockSizes::kDefault : pt::MockSizes::kHuge;
}

}  // namespace

Result<std::unique_ptr<iommu::Domain>> MockIommu::alloc_domain(const iommu::DomainFlags& flags,
                                                               const iommu::UserData& data) {
  const pt::MockSizes sizes = IOMMUFD_TRY(sizes_of(data));
  std::unique_ptr<pt::Table> table = IOMMUFD_TRY(pt::make_mock(arena(), sizes));
  const IovaRange aperture = sizes == pt::MockSizes::kHuge ? table->aperture() : kAperture;
  return std::make_unique<iommu::Domain>(
      *this, arena(), std::move(table), aperture,
      flags.dirty_tracking ? iommu::DirtyTracking::kOff : iommu::DirtyTracking::kUnsupported);
}

iommu::HwInfo MockIommu::hw_info() const {
  const std::array<u32, 2> words{0, kHwInfoRegister};  // flags, test_reg
  iommu::HwInfo info{kHwInfoType, std::vector<std::byte>(sizeof words)};
  std::memcpy(info.payload.data(), words.data(), sizeof words);
  return info;
}

}  // namespace iommufd::selftest

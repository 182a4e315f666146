// SPDX-License-Identifier: BSD-3-Clause
// The mock IOMMU (spec selftest-abi 4, 5): every mock device is behind it, alone in a group. It reports dirty tracking,
// accepts every flag, has no reserved regions and no interrupt window. Thread-safe.
#pragma once

#include <atomic>

#include "iommu/instance.hpp"

namespace iommufd::selftest {

inline constexpr u32 kHwInfoType = 0xfeed'beef;
inline constexpr u32 kHwInfoRegister = 0xdead'beef;
inline constexpr u32 kHwptDataType = 0xdead;
inline constexpr IovaRange kAperture{0x0100'0000, 0x7fff'ffff};

class MockIommu final : public iommu::Instance {
 public:
  explicit MockIommu(pt::TableArena& arena) : Instance(iommu::Kind::kMock, "iommufd_mock", arena) {}

  // User data of type kHwptDataType chooses the page sizes: u32 (ignored), u32 0 = all powers of two, 1 = huge.
  Result<std::unique_ptr<iommu::Domain>> alloc_domain(const iommu::DomainFlags& flags,
                                                      const iommu::UserData& data) override;
  [[nodiscard]] iommu::HwInfo hw_info() const override;

  // A number that no other device has.
  u32 next_group() { return next_group_.fetch_add(1, std::memory_order_relaxed); }

 private:
  std::atomic<u32> next_group_{0};
};

}  // namespace iommufd::selftest

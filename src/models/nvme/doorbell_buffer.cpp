// SPDX-License-Identifier: BSD-3-Clause
#include "models/nvme/doorbell_buffer.hpp"

#include "base/fence.hpp"

namespace iommufd::models::nvme {
namespace {

constexpr u32 kAdminDoorbells = 2;
// A client that moves a shadow as fast as we read it must not hold us here.
constexpr int kMostLooks = 64;

Result<u32> load(iommu::DmaPort& port, u64 address) {
  u32 value = 0;
  IOMMUFD_TRY(port.read(address, std::as_writable_bytes(std::span(&value, 1))));
  return value;
}

Result<void> store(iommu::DmaPort& port, u64 address, u32 value) {
  return port.write(address, std::as_bytes(std::span(&value, 1)));
}

}  // namespace

Result<void> DoorbellBuffer::show(iommu::DmaPort& port, u32 doorbell, u32 value) {
  last_[doorbell] = value;
  IOMMUFD_TRY(store(port, shadows_ + u64{doorbell} * 4, value));
  return store(port, events_ + u64{doorbell} * 4, value);
}

Result<u32> DoorbellBuffer::settle(iommu::DmaPort& port, u32 doorbell, u32 rung) {
  const u64 shadow = shadows_ + u64{doorbell} * 4;
  u32 value = rung;
  for (int look = 0; look < kMostLooks; ++look) {
    IOMMUFD_TRY(store(port, events_ + u64{doorbell} * 4, value));
    full_fence();
    const u32 seen = IOMMUFD_TRY(load(port, shadow));
    if (seen == value) break;
    if (doorbell < kAdminDoorbells && seen == last_[doorbell]) {
      IOMMUFD_TRY(store(port, shadow, value));
      break;
    }
    value = seen;
  }
  last_[doorbell] = value;
  return value;
}

}  // namespace iommufd::models::nvme

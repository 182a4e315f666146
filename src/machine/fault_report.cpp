// SPDX-License-Identifier: BSD-3-Clause
#include "machine/fault_report.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <utility>

namespace iommufd::machine {
namespace {

// Number and text as VT-d has them; what VT-d cannot say (there is no IOMMU) has the number 0.
struct Why {
  unsigned number;
  const char* text;
};
Why why(const iommu::DmaFault& fault) {
  using enum iommu::FaultReason;
  const bool write = fault.access == Access::kWrite;
  switch (fault.reason) {
    case kBlocked: return {0x02, "Present bit in context entry is clear (the device is not attached)"};
    case kNotPresent:
    case kNoReadAccess:
    case kNoWriteAccess:
      return write ? Why{0x05, "PTE Write access is not set"} : Why{0x06, "PTE Read access is not set"};
    case kBusMasterOff: return {0, "bus mastering is off (PCI command bit 2)"};
    case kNotPinned: return {0, "no IOMMU: nobody has pinned memory at this physical address"};
    case kMemoryGone:
      return {0, "translated, but the memory of the client is gone (unmapped, truncated, or the process ended)"};
  }
  return {0, "unknown"};
}

}  // namespace

std::string FaultReport::line(const iommu::DmaFault& fault) {
  // The kernel leaves the PCI domain out of these lines when it is 0.
  std::string_view device = fault.device;
  if (device.starts_with("0000:")) device.remove_prefix(5);
  const Why reason = why(fault);
  return fmt::format("DMAR: [DMA {} NO_PASID] Request device [{}] fault addr {:#x} [fault reason {:#04x}] {}",
                     fault.access == Access::kWrite ? "Write" : "Read", device, fault.addr, reason.number, reason.text);
}

void FaultReport::dma_fault(const iommu::DmaFault& fault) {
  const auto now = std::chrono::steady_clock::now();
  u64 left_out = 0;
  {
    const MutexLock lock(mu_);
    if (now - since_ > kInterval) {
      since_ = now;
      printed_ = 0;
      left_out = std::exchange(left_out_, 0);
    }
    if (printed_ == kBurst) {
      ++left_out_;
      return;
    }
    ++printed_;
  }
  if (left_out != 0) fmt::print(stderr, "DMAR: {} faults were not shown\n", left_out);
  fmt::print(stderr, "{}\n", line(fault));
}

}  // namespace iommufd::machine

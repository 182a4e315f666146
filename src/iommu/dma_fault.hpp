// SPDX-License-Identifier: BSD-3-Clause
// A DMA that aborted, and who is told. Declared here, implemented above (machine prints kernel-shaped lines).
#pragma once

#include <string_view>

#include "base/types.hpp"

namespace iommufd::iommu {

enum class FaultReason : u8 {
  kBusMasterOff,   // PCI command bit 2 is clear
  kBlocked,        // behind an IOMMU, attached to nothing
  kNotPresent,     // no translation for the address
  kNoReadAccess,   // mapped, but not readable
  kNoWriteAccess,  // mapped, but not writable
  kNotPinned,      // no IOMMU: nobody pinned memory at this physical address
  kMemoryGone,     // translated, but the client's memory behind it is not there any more
};

struct DmaFault {
  std::string_view device;  // BDF
  u64 addr = 0;             // as the device put it on the bus
  Access access = Access::kRead;
  FaultReason reason = FaultReason::kNotPresent;
};

class FaultObserver {
 public:
  // Called by device threads with no ranked lock held, inside a DMA transaction: do not map, unmap or wait here.
  virtual void dma_fault(const DmaFault& fault) = 0;

 protected:
  ~FaultObserver() = default;
};

}  // namespace iommufd::iommu

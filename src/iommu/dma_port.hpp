// SPDX-License-Identifier: BSD-3-Clause
// The only way of a device to memory. Behind an IOMMU the address is an IOVA and is translated by the page table of the
// domain that the device is attached to; without one it *is* the physical address. Thread-safe.
#pragma once

#include <cstddef>
#include <span>

#include "base/result.hpp"
#include "base/types.hpp"

namespace iommufd::iommu {

class DmaPort {
 public:
  virtual ~DmaPort() = default;
  // The device reads (writes) `buf.size()` bytes of memory at `addr`. On a fault the transaction aborts: bytes before
  // the faulting page may have moved, the fault has been reported, and the result is kFault. Nothing else is returned,
  // nothing is thrown, nothing crashes. Bus mastering off aborts too. Never call it with a ranked lock held that
  // ranks above LockRank::kModel.
  virtual Result<void> read(u64 addr, std::span<std::byte> buf) = 0;
  virtual Result<void> write(u64 addr, std::span<const std::byte> buf) = 0;
  // PCI command register bit 2. Off: every transaction aborts.
  virtual void set_bus_master(bool on) = 0;
};

}  // namespace iommufd::iommu

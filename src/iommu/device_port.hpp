// SPDX-License-Identifier: BSD-3-Clause
// Where the DMA of one device enters: bus mastering, then translation or not, then the frames of the machine.
//
// Behind an IOMMU the port has a domain or is blocked. Without one (noiommu) the address is physical and reaches every
// pinned frame of the machine: no translation, no permission, no protection (noiommu.md 1).
//
// Concurrency: transactions take no lock. attach() returns when no transaction through the old domain is left, so the
// old one may be freed.
#pragma once

#include <atomic>
#include <string>

#include "base/result.hpp"
#include "base/types.hpp"
#include "iommu/dma_fault.hpp"
#include "iommu/dma_port.hpp"
#include "iommu/domain.hpp"
#include "mem/dma_barrier.hpp"
#include "mem/physical_memory.hpp"

namespace iommufd::iommu {

enum class Translation : u8 { kNone, kIommu };

class DevicePort final : public DmaPort {
 public:
  // `observer` may be null. The port registers with the barrier of `phys` and outlives its use. `name` is the BDF.
  DevicePort(std::string name, Translation translation, mem::PhysicalMemory& phys, FaultObserver* observer);
  DevicePort(const DevicePort&) = delete;
  DevicePort& operator=(const DevicePort&) = delete;

  Result<void> read(u64 addr, std::span<std::byte> buf) override;
  Result<void> write(u64 addr, std::span<const std::byte> buf) override;
  void set_bus_master(bool on) override { bus_master_.store(on, std::memory_order_release); }

  // Translate through `domain`, or block with null. Pre: Translation::kIommu.
  void attach(Domain* domain);

  // For tests of checkers: the nth write from now (1 = the next) has one bit flipped. 0: none.
  void corrupt_write(u64 nth) { corrupt_in_.store(nth, std::memory_order_relaxed); }

 private:
  // A piece of a transfer that is contiguous in memory.
  struct Target {
    mem::PhysicalMemory::Location at;
    u64 length = 0;
  };
  template <class Byte>
  Result<void> transfer(u64 addr, std::span<Byte> buf, Access access);
  Result<Target> locate(u64 addr, u64 length, Access access, FaultReason& reason) const;
  Err fault(u64 addr, Access access, FaultReason reason) const;

  const std::string name_;
  const Translation translation_;
  mem::PhysicalMemory& phys_;
  FaultObserver* const observer_;
  mem::DmaBarrier::Slot slot_;
  std::atomic<bool> bus_master_{false};
  std::atomic<Domain*> domain_{nullptr};
  std::atomic<u64> corrupt_in_{0};
};

}  // namespace iommufd::iommu

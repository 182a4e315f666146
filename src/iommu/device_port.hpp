// SPDX-License-Identifier: BSD-3-Clause
// Where the DMA of one device enters: bus mastering, then translation or not, then the frames of the machine.
//
// Behind an IOMMU the port has a domain or is blocked, and an IOTLB. Without one (noiommu) the address is physical and reaches
// every pinned frame of the machine: no translation, no permission, no protection (noiommu.md 1).
//
// Concurrency: transactions take no lock. attach() returns when no transaction through the old domain is left, so the
// old one may be freed; calls of attach() follow each other. Everything else at any time.
#pragma once

#include <atomic>
#include <string>

#include "base/result.hpp"
#include "base/types.hpp"
#include "iommu/dma_fault.hpp"
#include "iommu/dma_port.hpp"
#include "iommu/domain.hpp"
#include "iommu/iotlb.hpp"
#include "mem/dma_barrier.hpp"
#include "mem/physical_memory.hpp"

namespace iommufd::iommu {

class Instance;

class DevicePort final : public DmaPort {
 public:
  // `name` is the BDF. `iommu` manages the device; null: nobody does. `observer` may be null. The port registers with the IOMMU,
  // or with the barrier of `phys`, and outlives their use.
  DevicePort(std::string name, Instance* iommu, mem::PhysicalMemory& phys, FaultObserver* observer);
  DevicePort(const DevicePort&) = delete;
  DevicePort& operator=(const DevicePort&) = delete;

  Result<void> read_pieces(std::span<const DmaReadPiece> pieces) override;
  Result<void> write_pieces(std::span<const DmaWritePiece> pieces) override;
  void set_bus_master(bool on) override { bus_master_.store(on, std::memory_order_release); }

  // Translate through `domain`, or block with null. Pre: an IOMMU manages the device.
  void attach(Domain* domain);
  // Something of `domain` in the range is not what it was. When the call returns, no transaction that began before is still
  // running, and later ones translate anew. Pre: full_fence() since the change; not inside a transaction.
  void flush(const Domain& domain, IovaRange range);
  [[nodiscard]] IotlbCounters iotlb_counters() const;

  // For tests of checkers: the nth write from now (1 = the next) has one bit flipped. 0: none.
  void corrupt_write(u64 nth) { corrupt_in_.store(nth, std::memory_order_relaxed); }

 private:
  class Walker;
  template <class Byte>
  class Copies;
  template <class Byte>
  Result<void> transfer(std::span<const DmaPiece<Byte>> pieces, Access access);
  Result<mem::PhysicalMemory::Location> locate(Walker& walker, u64 addr, FaultReason& reason) const;
  Err fault(u64 addr, Access access, FaultReason reason) const;

  friend class Instance;
  const std::string name_;
  Instance* const iommu_;
  DevicePort* next_ = nullptr;  // behind the same IOMMU
  mem::PhysicalMemory& phys_;
  FaultObserver* const observer_;
  mem::DmaEpoch epoch_;
  Iotlb iotlb_;  // hits are the tally of epoch_
  std::atomic<u64> misses_{0};
  std::atomic<u64> walks_{0};
  std::atomic<bool> bus_master_{false};
  std::atomic<Domain*> domain_{nullptr};
  std::atomic<Domain*> leaving_{nullptr};  // while attach() waits for the last transactions through it
  std::atomic<u64> corrupt_in_{0};
};

}  // namespace iommufd::iommu

// SPDX-License-Identifier: BSD-3-Clause
#include "iommu/device_port.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/assert.hpp"

namespace iommufd::iommu {

DevicePort::DevicePort(std::string name, Translation translation, mem::PhysicalMemory& phys, FaultObserver* observer)
    : name_(std::move(name)), translation_(translation), phys_(phys), observer_(observer) {
  IOMMUFD_ASSERT(phys_.barrier().add(slot_));
}

void DevicePort::attach(Domain* domain) {
  IOMMUFD_ASSERT(translation_ == Translation::kIommu);
  domain_.store(domain, std::memory_order_release);
  phys_.barrier().wait();
}

Err DevicePort::fault(u64 addr, Access access, FaultReason reason) const {
  if (observer_ != nullptr) observer_->dma_fault({name_, addr, access, reason});
  return Err(Errno::kFault);
}

// The memory behind `addr`, up to `length` bytes of it, within one page.
Result<DevicePort::Target> DevicePort::locate(u64 addr, u64 length, Access access, FaultReason& reason) const {
  const u64 in_page = std::min(length, kPageSize - (addr & kPageMask));
  PhysAddr pa{addr};
  if (translation_ == Translation::kIommu) {
    Domain* domain = domain_.load(std::memory_order_acquire);
    reason = FaultReason::kBlocked;
    if (domain == nullptr) return Err(Errno::kFault);
    const std::optional<pt::Translation> t = domain->lookup(Iova{addr});
    reason = FaultReason::kNotPresent;
    if (!t) return Err(Errno::kFault);
    reason = access == Access::kRead ? FaultReason::kNoReadAccess : FaultReason::kNoWriteAccess;
    if (!allows(t->access, access)) return Err(Errno::kFault);
    // The bit first, then the data: whoever clears it waits for transactions, so it never finds one without the other.
    reason = FaultReason::kNotPresent;
    if (access == Access::kWrite && domain->tracks_dirty() && !domain->record_write(Iova{addr}))
      return Err(Errno::kFault);
    pa = t->pa;
  }
  const mem::PhysicalMemory::Location at = phys_.resolve(pa);
  reason = translation_ == Translation::kIommu ? FaultReason::kMemoryGone : FaultReason::kNotPinned;
  if (at.space == nullptr) return Err(Errno::kFault);
  return Target{at, in_page};
}

template <class Byte>
Result<void> DevicePort::transfer(u64 addr, std::span<Byte> buf, Access access) {
  if (!bus_master_.load(std::memory_order_acquire)) return fault(addr, access, FaultReason::kBusMasterOff);
  const mem::DmaBarrier::Transaction in_flight(phys_.barrier(), slot_);
  u64 done = 0;
  while (done < buf.size()) {
    // Pages that follow each other in one address space move in one copy.
    FaultReason reason{};
    Result<Target> next = locate(addr + done, buf.size() - done, access, reason);
    if (!next) return fault(addr + done, access, reason);
    Target piece = *next;
    std::optional<u64> stop_at;
    while (done + piece.length < buf.size()) {
      next = locate(addr + done + piece.length, buf.size() - done - piece.length, access, reason);
      if (!next) {
        stop_at = addr + done + piece.length;
        break;
      }
      if (next->at.space != piece.at.space || next->at.va.raw() != piece.at.va.raw() + piece.length) break;
      piece.length += next->length;
    }
    const std::span<Byte> part = buf.subspan(done, piece.length);
    bool complete = true;
    if (piece.at.direct != nullptr) {
      if constexpr (std::is_const_v<Byte>) {
        std::memcpy(piece.at.direct, part.data(), part.size());
      } else {
        std::memcpy(part.data(), piece.at.direct, part.size());
      }
    } else if constexpr (std::is_const_v<Byte>) {
      complete = piece.at.space->write_some(piece.at.va, part) == part.size();
    } else {
      complete = piece.at.space->read_some(piece.at.va, part) == part.size();
    }
    if (!complete) return fault(addr + done, access, FaultReason::kMemoryGone);
    done += piece.length;
    if (stop_at) return fault(*stop_at, access, reason);
  }
  return {};
}

Result<void> DevicePort::read(u64 addr, std::span<std::byte> buf) { return transfer(addr, buf, Access::kRead); }

Result<void> DevicePort::write(u64 addr, std::span<const std::byte> buf) {
  const u64 nth = corrupt_in_.load(std::memory_order_relaxed);
  if (nth == 0 || buf.empty()) return transfer(addr, buf, Access::kWrite);
  corrupt_in_.store(nth - 1, std::memory_order_relaxed);
  if (nth != 1) return transfer(addr, buf, Access::kWrite);
  std::vector<std::byte> wrong(buf.begin(), buf.end());
  wrong.front() ^= std::byte{1};
  return transfer(addr, std::span<const std::byte>(wrong), Access::kWrite);
}

}  // namespace iommufd::iommu

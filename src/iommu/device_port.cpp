// SPDX-License-Identifier: BSD-3-Clause
#include "iommu/device_port.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/assert.hpp"
#include "iommu/instance.hpp"

namespace iommufd::iommu {

// The translations of one transaction. What it knows of an item it keeps until it leaves the item.
class DevicePort::Walker {
 public:
  Walker(DevicePort& port, mem::DmaEpoch::Transaction& transaction, Access access)
      : port_(port),
        transaction_(transaction),
        access_(access),
        generation_(port.iotlb_.generation()),
        domain_(port.domain_.load(std::memory_order_acquire)) {
    records_writes_ = access == Access::kWrite && domain_ != nullptr && domain_->tracks_dirty();
  }
  Walker(const Walker&) = delete;
  Walker& operator=(const Walker&) = delete;

  [[nodiscard]] Access access() const { return access_; }
  // Errors: kFault, with the reason.
  Result<PhysAddr> translate(u64 addr, FaultReason& reason) {
    if (addr - start_ >= size_) {
      IOMMUFD_TRY(enter(addr, reason));
    }
    return advance(pa_, addr - start_);
  }

 private:
  Result<void> enter(u64 addr, FaultReason& reason) {
    reason = FaultReason::kBlocked;
    if (domain_ == nullptr) return Err(Errno::kFault);
    std::optional<Iotlb::Entry> item = port_.iotlb_.find(addr);
    const bool known = item.has_value();
    reason = FaultReason::kNotPresent;
    if (known) {
      transaction_.count(1);
    } else {
      port_.misses_.fetch_add(1, std::memory_order_relaxed);
      item = walk(addr);
      if (!item) return Err(Errno::kFault);
    }
    reason = access_ == Access::kRead ? FaultReason::kNoReadAccess : FaultReason::kNoWriteAccess;
    if (!allows(item->access, access_)) return Err(Errno::kFault);
    // The bit first, then the data: whoever clears it waits for transactions, so it never finds one without the other.
    const bool record = records_writes_ && !item->dirty;
    if (record) {
      reason = FaultReason::kNotPresent;
      port_.walks_.fetch_add(1, std::memory_order_relaxed);
      if (!domain_->record_write(Iova{addr})) return Err(Errno::kFault);
      item->dirty = true;
    }
    if (!known || record) port_.iotlb_.insert(generation_, *item);
    start_ = item->start;
    size_ = u64{1} << item->lg2;
    pa_ = item->pa;
    return {};
  }

  std::optional<Iotlb::Entry> walk(u64 addr) {
    port_.walks_.fetch_add(1, std::memory_order_relaxed);
    const std::optional<pt::Translation> t = domain_->lookup(Iova{addr});
    if (!t) return std::nullopt;
    const u64 offset = addr & ((u64{1} << t->item_lg2) - 1);
    return Iotlb::Entry{addr - offset, PhysAddr{t->pa.raw() - offset}, t->item_lg2, t->access, false};
  }

  DevicePort& port_;
  mem::DmaEpoch::Transaction& transaction_;
  const Access access_;
  const u64 generation_;  // older than domain_, so that nothing of a domain that was left is entered
  Domain* const domain_;
  bool records_writes_ = false;
  u64 start_ = 0;  // the item that the transaction is in: IOVA, bytes (0: none yet), and where it is
  u64 size_ = 0;
  PhysAddr pa_;
};

DevicePort::DevicePort(std::string name, Instance* iommu, mem::PhysicalMemory& phys, FaultObserver* observer)
    : name_(std::move(name)), iommu_(iommu), phys_(phys), observer_(observer) {
  if (iommu_ != nullptr) {
    iommu_->add_port(*this);
  } else {
    phys_.barrier().add(epoch_);
  }
}

// Whoever changes one of the two domains meanwhile finds the port by domain_ or, looking later, by leaving_.
void DevicePort::attach(Domain* domain) {
  IOMMUFD_ASSERT(iommu_ != nullptr);
  leaving_.store(domain_.load(std::memory_order_relaxed), std::memory_order_seq_cst);
  domain_.store(domain, std::memory_order_seq_cst);
  iotlb_.invalidate_all();
  mem::DmaEpoch::full_fence();
  epoch_.wait();
  leaving_.store(nullptr, std::memory_order_release);
}

void DevicePort::flush(const Domain& domain, IovaRange range) {
  if (domain_.load(std::memory_order_seq_cst) != &domain && leaving_.load(std::memory_order_seq_cst) != &domain) return;
  iotlb_.invalidate(range);
  epoch_.wait();
}

IotlbCounters DevicePort::iotlb_counters() const {
  return {epoch_.tally(), misses_.load(std::memory_order_relaxed), walks_.load(std::memory_order_relaxed),
          iotlb_.invalidated()};
}

Err DevicePort::fault(u64 addr, Access access, FaultReason reason) const {
  if (observer_ != nullptr) observer_->dma_fault({name_, addr, access, reason});
  return Err(Errno::kFault);
}

// The memory behind `addr`, up to `length` bytes of it, within one page.
Result<DevicePort::Target> DevicePort::locate(Walker& walker, u64 addr, u64 length, FaultReason& reason) const {
  const u64 in_page = std::min(length, kPageSize - (addr & kPageMask));
  const PhysAddr pa = iommu_ == nullptr ? PhysAddr{addr} : IOMMUFD_TRY(walker.translate(addr, reason));
  const mem::PhysicalMemory::Location at = phys_.resolve(pa);
  reason = iommu_ == nullptr ? FaultReason::kNotPinned : FaultReason::kMemoryGone;
  if (at.space == nullptr) return Err(Errno::kFault);
  return Target{at, in_page};
}

template <class Byte>
Result<void> DevicePort::transfer(u64 addr, std::span<Byte> buf, Access access) {
  if (!bus_master_.load(std::memory_order_acquire)) return fault(addr, access, FaultReason::kBusMasterOff);
  mem::DmaEpoch::Transaction in_flight(epoch_);
  Walker walker(*this, in_flight, access);
  u64 done = 0;
  while (done < buf.size()) {
    // Pages that follow each other in one address space move in one copy.
    FaultReason reason{};
    Result<Target> next = locate(walker, addr + done, buf.size() - done, reason);
    if (!next) return fault(addr + done, access, reason);
    Target piece = *next;
    std::optional<u64> stop_at;
    while (done + piece.length < buf.size()) {
      next = locate(walker, addr + done + piece.length, buf.size() - done - piece.length, reason);
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

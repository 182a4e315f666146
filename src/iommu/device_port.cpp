// SPDX-License-Identifier: BSD-3-Clause
#include "iommu/device_port.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/assert.hpp"
#include "iommu/instance.hpp"
#include "mem/guarded_copy.hpp"

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

// The copies of one transaction. What follows each other on the bus, in memory and in the device moves at once. Memory that is ours to
// touch is copied; for other memory calls are gathered, as long as they concern one address space.
template <class Byte>
class DevicePort::Copies {
 public:
  explicit Copies(const DevicePort& port) : port_(port) {}

  // `part` lies in the page at `at`, which is at bus address `addr`. Errors: kFault, reported, of this or an earlier part.
  Result<void> add(u64 addr, const mem::PhysicalMemory::Location& at, std::span<Byte> part) {
    return at.direct != nullptr ? add_direct(addr, at.direct, part) : add_far(addr, at, part);
  }

  Result<void> finish() {
    if (count_ != 0) return move_far();
    return run_.size == 0 ? Result<void>() : copy_run();
  }

 private:
  static constexpr std::size_t kMost = 64;  // one system call takes as many
  static constexpr Access kAccess = std::is_const_v<Byte> ? Access::kWrite : Access::kRead;

  struct Waiting {
    u64 addr;  // on the bus
    u64 va;
    Byte* data;
    std::size_t size;
    [[nodiscard]] bool continues_with(UserVa next, std::span<Byte> part) const {
      return next.raw() == va + size && part.data() == data + size;
    }
  };
  // Bytes that we can touch; size 0: none wait.
  struct Run {
    u64 addr;
    std::byte* memory;
    Byte* data;
    std::size_t size = 0;
    [[nodiscard]] bool continues_with(u64 next_addr, const std::byte* next, std::span<Byte> part) const {
      return next == memory + size && part.data() == data + size && next_addr == addr + size;
    }
  };

  // What came before is moved first: behind a fault nothing is.
  Result<void> add_direct(u64 addr, std::byte* memory, std::span<Byte> part) {
    if (run_.size != 0 && run_.continues_with(addr, memory, part)) {
      run_.size += part.size();
      return {};
    }
    IOMMUFD_TRY(finish());
    run_ = {addr, memory, part.data(), part.size()};
    return {};
  }

  Result<void> add_far(u64 addr, const mem::PhysicalMemory::Location& at, std::span<Byte> part) {
    if (count_ != 0 && at.space == space_ && waiting_[count_ - 1].continues_with(at.va, part)) {
      waiting_[count_ - 1].size += part.size();
      return {};
    }
    if (count_ == 0 || count_ == kMost || at.space != space_) IOMMUFD_TRY(finish());
    space_ = at.space;
    waiting_[count_++] = {addr, at.va.raw(), part.data(), part.size()};
    return {};
  }

  Result<void> copy_run() {
    const Run run = std::exchange(run_, {});
    std::size_t moved = 0;
    if constexpr (std::is_const_v<Byte>) {
      moved = mem::guarded_copy(run.memory, run.data, run.size);
    } else {
      moved = mem::guarded_copy(run.data, run.memory, run.size);
    }
    if (moved != run.size) [[unlikely]]
      return port_.fault(run.addr + moved, kAccess, FaultReason::kMemoryGone);
    return {};
  }

  Result<void> move_far() {
    std::array<mem::CopyPiece<Byte>, kMost> pieces;
    for (std::size_t i = 0; i < count_; ++i)
      pieces[i] = {UserVa{waiting_[i].va}, std::span(waiting_[i].data, waiting_[i].size)};
    u64 moved = move(std::span<const mem::CopyPiece<Byte>>(pieces).first(count_));
    const std::size_t count = std::exchange(count_, 0);
    for (std::size_t i = 0; i < count; ++i) {
      if (moved < waiting_[i].size) return port_.fault(waiting_[i].addr + moved, kAccess, FaultReason::kMemoryGone);
      moved -= waiting_[i].size;
    }
    return {};
  }

  u64 move(std::span<const mem::CopyPiece<Byte>> pieces) const {
    if constexpr (std::is_const_v<Byte>) {
      return space_->write_pieces(pieces).value_or(0);
    } else {
      return space_->read_pieces(pieces).value_or(0);
    }
  }

  const DevicePort& port_;
  Run run_;  // never while calls are gathered
  mem::AddressSpace* space_ = nullptr;
  std::size_t count_ = 0;
  std::array<Waiting, kMost> waiting_;  // the first count_; left as it is otherwise, for short transactions
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
  full_fence();
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

// The byte at `addr`, and with it all behind it up to the end of its page.
Result<mem::PhysicalMemory::Location> DevicePort::locate(Walker& walker, u64 addr, FaultReason& reason) const {
  const PhysAddr pa = iommu_ == nullptr ? PhysAddr{addr} : IOMMUFD_TRY(walker.translate(addr, reason));
  const mem::PhysicalMemory::Location at = phys_.resolve(pa);
  reason = iommu_ == nullptr ? FaultReason::kNotPinned : FaultReason::kMemoryGone;
  if (at.space == nullptr) return Err(Errno::kFault);
  return at;
}

template <class Byte>
Result<void> DevicePort::transfer(std::span<const DmaPiece<Byte>> pieces, Access access) {
  if (pieces.empty()) return {};
  if (!bus_master_.load(std::memory_order_acquire))
    return fault(pieces.front().addr, access, FaultReason::kBusMasterOff);
  mem::DmaEpoch::Transaction in_flight(epoch_);
  Walker walker(*this, in_flight, access);
  Copies<Byte> copies(*this);
  for (const DmaPiece<Byte>& piece : pieces) {
    for (u64 done = 0; done < piece.bytes.size();) {
      const u64 addr = piece.addr + done;
      const std::span<Byte> part =
          piece.bytes.subspan(done, std::min(piece.bytes.size() - done, kPageSize - (addr & kPageMask)));
      FaultReason reason{};
      const Result<mem::PhysicalMemory::Location> at = locate(walker, addr, reason);
      if (!at) {
        IOMMUFD_TRY(copies.finish());
        return fault(addr, access, reason);
      }
      IOMMUFD_TRY(copies.add(addr, *at, part));
      done += part.size();
    }
  }
  return copies.finish();
}

Result<void> DevicePort::read_pieces(std::span<const DmaReadPiece> pieces) { return transfer(pieces, Access::kRead); }

Result<void> DevicePort::write_pieces(std::span<const DmaWritePiece> pieces) {
  const u64 nth = corrupt_in_.load(std::memory_order_relaxed);
  if (nth == 0 || pieces.empty() || pieces.front().bytes.empty()) return transfer(pieces, Access::kWrite);
  corrupt_in_.store(nth - 1, std::memory_order_relaxed);
  if (nth != 1) return transfer(pieces, Access::kWrite);
  std::vector<DmaWritePiece> all(pieces.begin(), pieces.end());
  std::vector<std::byte> wrong(all.front().bytes.begin(), all.front().bytes.end());
  wrong.front() ^= std::byte{1};
  all.front().bytes = wrong;
  return transfer(std::span<const DmaWritePiece>(all), Access::kWrite);
}

}  // namespace iommufd::iommu

// SPDX-License-Identifier: BSD-3-Clause
#include "mem/pin_ring.hpp"

#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <numeric>

#include "base/assert.hpp"

namespace iommufd::mem {
namespace {

constexpr unsigned kEntries = 1;  // one operation at a time
constexpr u64 kStagingSize = u64{1} << 20;

u64 pointer(const void* p) { return std::bit_cast<u64>(p); }

long io_uring_register(int ring, unsigned operation, const void* argument, unsigned n) {
  return ::syscall(SYS_io_uring_register, ring, operation, argument, n);
}

// An empty buffer empties the slot.
Result<void> fill_slot(int ring, u32 slot, const iovec& buffer) {
  io_uring_rsrc_update2 update{};
  update.offset = slot;
  update.data = pointer(&buffer);
  update.nr = 1;
  (void)IOMMUFD_TRY(sys::check(io_uring_register(ring, IORING_REGISTER_BUFFERS_UPDATE, &update, sizeof(update))));
  return {};
}

}  // namespace

struct PinRing::Layout : io_uring_params {};

Result<Ref<PinRing>> PinRing::create(PinKeeper* keeper) {
  Layout layout{};
  Fd ring(static_cast<int>(
      IOMMUFD_TRY(sys::check(::syscall(SYS_io_uring_setup, kEntries, static_cast<io_uring_params*>(&layout))))));
  if ((layout.features & IORING_FEAT_SINGLE_MMAP) == 0) return Err(Errno::kNoSys);
  const u64 rings_size = std::max<u64>(layout.sq_off.array + layout.sq_entries * sizeof(u32),
                                       layout.cq_off.cqes + layout.cq_entries * sizeof(io_uring_cqe));
  sys::Mapping rings = IOMMUFD_TRY(sys::Mapping::map(ring.get(), IORING_OFF_SQ_RING, rings_size, Access::kReadWrite));
  sys::Mapping entries = IOMMUFD_TRY(
      sys::Mapping::map(ring.get(), IORING_OFF_SQES, layout.sq_entries * sizeof(io_uring_sqe), Access::kReadWrite));
  io_uring_rsrc_register table{};
  table.nr = kSlots;
  table.flags = IORING_RSRC_REGISTER_SPARSE;
  IOMMUFD_TRY(sys::ok(io_uring_register(ring.get(), IORING_REGISTER_BUFFERS2, &table, sizeof(table))));
  if (keeper != nullptr) IOMMUFD_TRY(keeper->hold(ring.get()));
  Fd staging = IOMMUFD_TRY(sys::make_sealed_memfd("iommufd-staging", kStagingSize));
  sys::Mapping staging_memory = IOMMUFD_TRY(sys::Mapping::map(staging.get(), 0, kStagingSize, Access::kReadWrite));
  return Ref<PinRing>::adopt(new PinRing(std::move(ring), std::move(staging), std::move(staging_memory),
                                         std::move(rings), std::move(entries), layout, keeper));
}

PinRing::PinRing(Fd ring, Fd staging, sys::Mapping staging_memory, sys::Mapping rings, sys::Mapping entries,
                 const Layout& layout, PinKeeper* keeper)
    : ring_(std::move(ring)),
      staging_(std::move(staging)),
      staging_memory_(std::move(staging_memory)),
      rings_(std::move(rings)),
      entries_(std::move(entries)),
      layout_(std::make_unique<const Layout>(layout)),
      keeper_(keeper),
      free_(kSlots),
      pages_(kSlots) {
  std::iota(free_.rbegin(), free_.rend(), 0);
}

PinRing::~PinRing() = default;

Result<u32> PinRing::pin(u64 length, const Fill& fill) {
  IOMMUFD_ASSERT(is_aligned(length, kPageSize) && length != 0 && length <= kMaxLength);
  u32 slot = 0;
  {
    const MutexLock lock(mu_);
    if (free_.empty()) return Err(Errno::kNoMem);
    slot = free_.back();
    free_.pop_back();
  }
  if (const Result<void> filled = fill(ring_.get(), slot); !filled) {
    give_back(slot);
    return Err(filled.error());
  }
  const s64 pages = static_cast<s64>(length / kPageSize);
  if (keeper_ != nullptr) keeper_->count(pages);
  const MutexLock lock(mu_);
  pages_[slot] = pages;
  return slot;
}

Result<u32> PinRing::pin_own(std::span<const std::byte> memory) {
  return pin(memory.size(), [memory](int ring, u32 slot) -> Result<void> {
    const iovec buffer{const_cast<std::byte*>(memory.data()), memory.size()};
    return fill_slot(ring, slot, buffer);
  });
}

void PinRing::unpin(u32 slot) {
  if (keeper_ != nullptr) {
    if (keeper_->keeps()) return;
    const MutexLock lock(mu_);
    keeper_->count(-pages_[slot]);
  }
  (void)fill_slot(ring_.get(), slot, iovec{});
  give_back(slot);
}

void PinRing::give_back(u32 slot) {
  const MutexLock lock(mu_);
  free_.push_back(slot);  // within the capacity that it had
}

Result<void> PinRing::read(u32 slot, u64 va, std::span<std::byte> buf) {
  const MutexLock lock(mu_);
  for (std::size_t done = 0; done < buf.size();) {
    const std::size_t n = std::min<std::size_t>(buf.size() - done, kStagingSize);
    IOMMUFD_TRY(run_locked(IORING_OP_WRITE_FIXED, slot, va + done, n));
    std::memcpy(buf.data() + done, staging_memory_.bytes().data(), n);
    done += n;
  }
  return {};
}

Result<void> PinRing::write(u32 slot, u64 va, std::span<const std::byte> buf) {
  const MutexLock lock(mu_);
  for (std::size_t done = 0; done < buf.size();) {
    const std::size_t n = std::min<std::size_t>(buf.size() - done, kStagingSize);
    std::memcpy(staging_memory_.bytes().data(), buf.data() + done, n);
    IOMMUFD_TRY(run_locked(IORING_OP_READ_FIXED, slot, va + done, n));
    done += n;
  }
  return {};
}

u32& PinRing::word(u32 offset) const { return *reinterpret_cast<u32*>(rings_.bytes().data() + offset); }

// One operation between the start of the staging memory and the held buffer, to its end. The kernel may split it.
Result<void> PinRing::run_locked(u8 operation, u32 slot, u64 va, std::size_t size) {
  for (std::size_t done = 0; done < size;) {
    auto* sqe = reinterpret_cast<io_uring_sqe*>(entries_.bytes().data());
    *sqe = {};
    sqe->opcode = operation;
    sqe->fd = staging_.get();
    sqe->off = done;
    sqe->addr = va + done;
    sqe->len = static_cast<u32>(size - done);
    sqe->buf_index = static_cast<u16>(slot);
    const std::atomic_ref sq_tail(word(layout_->sq_off.tail)), cq_head(word(layout_->cq_off.head));
    const u32 tail = sq_tail.load(std::memory_order_relaxed);
    word(layout_->sq_off.array + (tail & word(layout_->sq_off.ring_mask)) * static_cast<u32>(sizeof(u32))) = 0;
    sq_tail.store(tail + 1, std::memory_order_release);
    unsigned to_submit = 1;
    const u32 head = cq_head.load(std::memory_order_relaxed);
    while (std::atomic_ref(word(layout_->cq_off.tail)).load(std::memory_order_acquire) == head) {
      const long n = ::syscall(SYS_io_uring_enter, ring_.get(), to_submit, 1, IORING_ENTER_GETEVENTS, nullptr, 0);
      if (n < 0 && errno != EINTR && errno != EAGAIN && errno != EBUSY) return Err(sys::last_errno());
      if (n > 0) to_submit = 0;
    }
    const u32 at =
        layout_->cq_off.cqes + (head & word(layout_->cq_off.ring_mask)) * static_cast<u32>(sizeof(io_uring_cqe));
    const s32 result = static_cast<s32>(word(at + static_cast<u32>(offsetof(io_uring_cqe, res))));
    cq_head.store(head + 1, std::memory_order_release);
    if (result <= 0) return Err(result == 0 ? Errno::kIo : static_cast<Errno>(-result));
    done += static_cast<std::size_t>(result);
  }
  return {};
}

}  // namespace iommufd::mem

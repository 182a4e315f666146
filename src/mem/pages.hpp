// SPDX-License-Identifier: BSD-3-Clause
// The backing of one MAP call (spec iommufd-core 4): which client pages, who is charged, and which of them are pinned.
// Areas made by COPY and by splits share it.
//
// Invariants
// * Page i is pinned, has a frame and is charged once, exactly while users_[i] > 0.
// * A failing pin() leaves everything as it was; unpin() never fails.
//
// Lock: mu_ (LockRank::kPages). unpin() hands the frames out in a FrameList, which waits for DMA in flight before they go.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>

#include "base/ref.hpp"
#include "base/result.hpp"
#include "base/sync.hpp"
#include "mem/account.hpp"
#include "mem/address_space.hpp"
#include "mem/caller.hpp"
#include "mem/physical_memory.hpp"

namespace iommufd::mem {

// Who is charged for pinned pages: fixed when the pages object is made (spec 4.4). kNone counts in VmPin and has no limit;
// kExempt counts nowhere (memory of devices).
enum class ChargeMode : u8 { kNone, kUser, kProcess, kExempt };

// Frames on their way out. Given back at the end of its life, or whenever the host has no memory for more of them: entering
// one never fails. Pre: who enters frames has taken their translations away before.
class FrameList {
 public:
  explicit FrameList(PhysicalMemory& phys) : phys_(phys) {}
  FrameList(const FrameList&) = delete;
  FrameList& operator=(const FrameList&) = delete;
  ~FrameList() { give_back(); }

  void add(PhysAddr frame) noexcept {
    if (count_ == room()) grow();
    slots()[count_++] = frame;
  }
  [[nodiscard]] bool empty() const { return count_ == 0; }
  // Waits for DMA in flight.
  void give_back() noexcept {
    phys_.unpin_and_release(std::span(slots(), count_));
    count_ = 0;
  }

 private:
  [[nodiscard]] PhysAddr* slots() { return many_ ? many_.get() : few_.data(); }
  [[nodiscard]] std::size_t room() const { return many_ ? many_room_ : few_.size(); }
  void grow() noexcept;

  PhysicalMemory& phys_;
  std::array<PhysAddr, 8> few_;  // enough for most, without an allocation
  std::unique_ptr<PhysAddr[]> many_;
  std::size_t many_room_ = 0;
  std::size_t count_ = 0;
};

class Pages final : public RefCounted {
 public:
  // `start` is a byte address in `space` (for a file: a byte offset); the range does not wrap.
  Pages(PhysicalMemory& phys, Ref<AddressSpace> space, u64 start, u64 length, Access access, Ref<Process> process,
        ChargeMode mode);

  // Pins pages [first, first + count). Errors: kFault, kNoMem, and what the backing says.
  Result<void> pin(u64 first, u64 count) IOMMUFD_EXCLUDES(mu_);
  // Ends one use of each page; frames that nobody uses any more are entered into `out`.
  void unpin(u64 first, u64 count, FrameList& out) IOMMUFD_EXCLUDES(mu_);
  // The same, and gives the frames back. Never fails.
  void unpin_and_release(u64 first, u64 count) IOMMUFD_EXCLUDES(mu_);
  // Copies bytes from (to) `offset`, counted from the start of page 0. Pages that are pinned are reached as they are pinned,
  // others as they are now; memory of `caller` himself (null: nobody's) by his addresses. Errors: kFault, kInval (a file
  // that is too short or of the wrong kind, memory of a device). What was copied before an error stays copied.
  Result<void> read(u64 offset, std::span<std::byte> buf, AddressSpace* caller) IOMMUFD_EXCLUDES(mu_);
  Result<void> write(u64 offset, std::span<const std::byte> buf, AddressSpace* caller) IOMMUFD_EXCLUDES(mu_);
  // Calls fn(page index, frame address, contiguous pages) for runs of physically adjacent pages of [first, first + count).
  // Pre: they are pinned, and stay so during the call.
  template <class F>
  Result<void> for_each_run(u64 first, u64 count, F&& fn) IOMMUFD_EXCLUDES(mu_);

  // How many pages `process` would be charged for as the owner, which it is not now; 0 when it is.
  [[nodiscard]] u64 charge_for(const Process& process) IOMMUFD_EXCLUDES(mu_);
  // Makes `process` the owner, who is charged (IOMMU_IOAS_CHANGE_PROCESS, spec 3.10). `prepaid` pages were charged to it for
  // this already, by mode(); when other pages were pinned meanwhile the difference is settled without looking at the
  // limit. Never fails.
  void change_process(Ref<Process> process, u64 prepaid) IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] ChargeMode mode() const { return mode_; }
  [[nodiscard]] Backing backing() const { return space_->backing(); }

  [[nodiscard]] AddressSpace& space() const { return *space_; }
  // The memory as one that its owner can take back; null when nobody can.
  [[nodiscard]] RevocableSpace* revocable() const { return generation_ == 0 ? nullptr : space_->as_revocable(); }
  // He has taken it back since these pages were made.
  [[nodiscard]] bool revoked() const { return generation_ != 0 && space_->generation() != generation_; }
  [[nodiscard]] bool writable() const { return allows(access_, Access::kWrite); }
  [[nodiscard]] u64 first_byte_offset() const { return start_ & kPageMask; }  // of byte 0 in page 0
  [[nodiscard]] u64 start() const { return start_; }
  [[nodiscard]] u64 page_count() const { return page_count_; }

 private:
  ~Pages() override;
  u64 take_out_locked(u64 first, u64 count, FrameList& out) IOMMUFD_REQUIRES(mu_);
  Result<void> pin_fresh_locked(u64 first, u64 count) IOMMUFD_REQUIRES(mu_);
  template <class Byte>
  Result<void> copy(u64 offset, std::span<Byte> buf, AddressSpace* caller) IOMMUFD_EXCLUDES(mu_);
  template <class Byte>
  Result<void> copy_in_page(u64 offset, std::span<Byte> part) IOMMUFD_EXCLUDES(mu_);
  // One more user of a page that has some already; nothing when it has none.
  std::optional<PhysAddr> join(u64 page) IOMMUFD_EXCLUDES(mu_);
  Result<void> charge_locked(u64 pages) IOMMUFD_REQUIRES(mu_);
  void uncharge_locked(u64 pages) IOMMUFD_REQUIRES(mu_);

  PhysicalMemory& phys_;
  const Ref<AddressSpace> space_;
  const u64 start_;
  const u64 page_count_;
  const Access access_;
  const ChargeMode mode_;
  const u64 generation_;  // of space_, when these pages were made; 0: it cannot be taken back

  // Of each page: how many use it, and its frame while somebody does. One page needs no array of its own.
  struct State {
    std::span<u32> users;
    std::span<PhysAddr> frames;
  };
  void make_state_locked() IOMMUFD_REQUIRES(mu_);

  Mutex mu_{LockRank::kPages};
  Ref<Process> process_ IOMMUFD_GUARDED_BY(mu_);
  u64 pinned_ IOMMUFD_GUARDED_BY(mu_) = 0;  // pages with a user: what is charged
  State state_ IOMMUFD_GUARDED_BY(mu_);     // empty until the first pin
  u32 one_user_ IOMMUFD_GUARDED_BY(mu_) = 0;
  PhysAddr one_frame_ IOMMUFD_GUARDED_BY(mu_);
  std::unique_ptr<u32[]> many_users_ IOMMUFD_GUARDED_BY(mu_);
  std::unique_ptr<PhysAddr[]> many_frames_ IOMMUFD_GUARDED_BY(mu_);
};

template <class F>
Result<void> Pages::for_each_run(u64 first, u64 count, F&& fn) {
  const MutexLock lock(mu_);
  for (u64 i = first; i < first + count;) {
    u64 run = 1;
    const std::span<const PhysAddr> frames = state_.frames;
    while (i + run < first + count && frames[i + run].raw() == frames[i].raw() + run * kPageSize) ++run;
    IOMMUFD_TRY(fn(i, frames[i], run));
    i += run;
  }
  return {};
}

}  // namespace iommufd::mem

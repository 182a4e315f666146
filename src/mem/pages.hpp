// SPDX-License-Identifier: BSD-3-Clause
// The backing of one MAP call (spec iommufd-core 4): which client pages, who is charged, and which of them are pinned.
// Areas made by COPY and by splits share it.
//
// Invariants
// * Page i is pinned, has a frame and is charged once, exactly while users_[i] > 0.
// * A failing pin() leaves everything as it was; unpin() never fails and never allocates.
//
// Lock: mu_ (LockRank::kPages). Frames leave in two steps so that DMA in flight is waited for in between: unpin()
// makes them unreachable and appends them to `out`; after a DMA barrier the caller gives them to PhysicalMemory::release().
#pragma once

#include <vector>

#include "base/ref.hpp"
#include "base/result.hpp"
#include "base/sync.hpp"
#include "mem/account.hpp"
#include "mem/address_space.hpp"
#include "mem/caller.hpp"
#include "mem/physical_memory.hpp"

namespace iommufd::mem {

// Who is charged for pinned pages: fixed when the pages object is made (spec 4.4).
enum class ChargeMode : u8 { kNone, kUser, kProcess };

class Pages final : public RefCounted {
 public:
  // `start` is a byte address in `space` (for a file: a byte offset); the range does not wrap.
  Pages(PhysicalMemory& phys, Ref<AddressSpace> space, u64 start, u64 length, Access access, Ref<Process> process,
        ChargeMode mode);

  // Pins pages [first, first + count). Errors: kFault, kNoMem, and what the backing says.
  Result<void> pin(u64 first, u64 count) IOMMUFD_EXCLUDES(mu_);
  // Ends one use of each page; frames that nobody uses any more are appended to `out`, which has room for `count`.
  void unpin(u64 first, u64 count, std::vector<PhysAddr>& out) IOMMUFD_EXCLUDES(mu_);
  // Calls fn(page index, frame address, contiguous pages) for runs of physically adjacent pages of [first, first + count).
  // Pre: they are pinned, and stay so during the call.
  template <class F>
  Result<void> for_each_run(u64 first, u64 count, F&& fn) IOMMUFD_EXCLUDES(mu_);

  [[nodiscard]] bool writable() const { return allows(access_, Access::kWrite); }
  [[nodiscard]] u64 first_byte_offset() const { return start_ & kPageMask; }  // of byte 0 in page 0
  [[nodiscard]] u64 start() const { return start_; }
  [[nodiscard]] u64 page_count() const { return page_count_; }

 private:
  struct Page {
    PhysAddr frame;
    u32 users = 0;
  };

  ~Pages() override;
  Result<void> pin_fresh_locked(u64 first, u64 count) IOMMUFD_REQUIRES(mu_);
  Result<void> charge(u64 pages);
  void uncharge(u64 pages);

  PhysicalMemory& phys_;
  const Ref<AddressSpace> space_;
  const u64 start_;
  const u64 page_count_;
  const Access access_;
  const Ref<Process> process_;
  const ChargeMode mode_;

  Mutex mu_{LockRank::kPages};
  std::vector<Page> pages_ IOMMUFD_GUARDED_BY(mu_);  // empty until the first pin
};

template <class F>
Result<void> Pages::for_each_run(u64 first, u64 count, F&& fn) {
  const MutexLock lock(mu_);
  for (u64 i = first; i < first + count;) {
    u64 run = 1;
    while (i + run < first + count && pages_[i + run].frame.raw() == pages_[i].frame.raw() + run * kPageSize) ++run;
    IOMMUFD_TRY(fn(i, pages_[i].frame, run));
    i += run;
  }
  return {};
}

}  // namespace iommufd::mem

// SPDX-License-Identifier: BSD-3-Clause
#include "mem/pages.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "base/explain.hpp"
#include "base/rollback.hpp"

namespace iommufd::mem {
namespace {

// No user address and no file offset reaches further; longer ranges fault before memory is set aside for them.
constexpr u64 kMaxSpan = u64{1} << 47;

}  // namespace

Pages::Pages(PhysicalMemory& phys, Ref<AddressSpace> space, u64 start, u64 length, Access access, Ref<Process> process,
             ChargeMode mode)
    : phys_(phys),
      space_(std::move(space)),
      start_(start),
      page_count_(div_round_up((start & kPageMask) + length, kPageSize)),
      access_(access),
      process_(std::move(process)),
      mode_(mode) {}

Pages::~Pages() {
  // Areas unpin before they let go of their pages.
  for (const Page& p : pages_) IOMMUFD_ASSERT(p.users == 0);
}

Result<void> Pages::charge(u64 pages) {
  if (mode_ != ChargeMode::kNone) {
    Account& account = mode_ == ChargeMode::kUser ? process_->user_locked() : process_->vm_locked();
    IOMMUFD_TRY(account.charge(pages, IOMMUFD_TRY(process_->memlock_limit())));
  }
  process_->vm_pinned().charge_unlimited(pages);
  return {};
}

void Pages::uncharge(u64 pages) {
  if (mode_ == ChargeMode::kUser) process_->user_locked().uncharge(pages);
  if (mode_ == ChargeMode::kProcess) process_->vm_locked().uncharge(pages);
  process_->vm_pinned().uncharge(pages);
}

// Pins [first, first + count), none of which has a user.
Result<void> Pages::pin_fresh_locked(u64 first, u64 count) {
  const UserVa base{(start_ & ~kPageMask) + first * kPageSize};
  const Access want = writable() ? Access::kReadWrite : Access::kRead;
  std::vector<PageRun> runs;
  IOMMUFD_TRY(space_->populate(base, count, want, runs));

  std::vector<PhysAddr> frames(count);
  u64 done = 0;
  Rollback undo{[&] { phys_.unpin_and_release(std::span(frames).first(done)); }};
  for (const PageRun& run : runs) {
    IOMMUFD_ASSERT(done + run.pages <= count);
    IOMMUFD_TRY(phys_.pin(*space_, advance(base, done * kPageSize), run, std::span(frames).subspan(done, run.pages)));
    done += run.pages;
  }
  IOMMUFD_ASSERT(done == count);
  IOMMUFD_TRY(charge(count));
  undo.commit();
  for (u64 i = 0; i < count; ++i) pages_[first + i] = {frames[i], 1};
  return {};
}

Result<void> Pages::pin(u64 first, u64 count) {
  if (page_count_ > kMaxSpan >> kPageShift || start_ > kMaxSpan)
    return reject(Errno::kFault, {"user_va", start_, "reaches past the user address space", "iommufd-core 3.4 row 11"});
  const MutexLock lock(mu_);
  if (pages_.empty()) pages_.resize(page_count_);
  u64 done = 0;
  std::vector<PhysAddr> undone;
  undone.reserve(count);  // undoing does not allocate
  Rollback undo{[&]() IOMMUFD_REQUIRES(mu_) {
    for (u64 i = 0; i < done; ++i) {
      Page& p = pages_[first + i];
      if (--p.users != 0) continue;
      undone.push_back(p.frame);
      p = {};
    }
    phys_.unpin_and_release(undone);
    uncharge(undone.size());
  }};
  while (done < count) {
    // Runs of pages with a user and runs without alternate.
    const u64 at = first + done;
    const bool fresh = pages_[at].users == 0;
    u64 run = 1;
    while (done + run < count && (pages_[at + run].users == 0) == fresh) ++run;
    if (fresh) {
      IOMMUFD_TRY(pin_fresh_locked(at, run));
    } else {
      for (u64 i = 0; i < run; ++i) ++pages_[at + i].users;
    }
    done += run;
  }
  undo.commit();
  return {};
}

void Pages::unpin(u64 first, u64 count, std::vector<PhysAddr>& out) {
  const MutexLock lock(mu_);
  const std::size_t before = out.size();
  for (u64 i = first; i < first + count; ++i) {
    Page& p = pages_[i];
    IOMMUFD_ASSERT(p.users != 0);
    if (--p.users != 0) continue;
    out.push_back(p.frame);
    p = {};
  }
  const std::span<const PhysAddr> gone = std::span<const PhysAddr>(out).subspan(before);
  phys_.unpin(gone);
  uncharge(gone.size());
}

}  // namespace iommufd::mem

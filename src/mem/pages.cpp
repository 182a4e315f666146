// SPDX-License-Identifier: BSD-3-Clause
#include "mem/pages.hpp"

#include <algorithm>
#include <new>

#include "base/assert.hpp"
#include "base/explain.hpp"
#include "base/fault_point.hpp"
#include "base/rollback.hpp"
#include "mem/guarded_copy.hpp"

namespace iommufd::mem {
namespace {

// No user address and no file offset reaches further; longer ranges fault before memory is set aside for them.
constexpr u64 kMaxSpan = u64{1} << 47;

}  // namespace

void FrameList::grow() noexcept {
  const std::size_t more_room = 4 * room();
  std::unique_ptr<PhysAddr[]> more(new (std::nothrow) PhysAddr[more_room]);
  if (!more) return give_back();
  std::ranges::copy(std::span(slots(), count_), more.get());
  many_ = std::move(more);
  many_room_ = more_room;
}

Pages::Pages(PhysicalMemory& phys, Ref<AddressSpace> space, u64 start, u64 length, Access access, Ref<Process> process,
             ChargeMode mode)
    : phys_(phys),
      space_(std::move(space)),
      start_(start),
      page_count_(div_round_up((start & kPageMask) + length, kPageSize)),
      access_(access),
      mode_(mode),
      generation_(space_->generation()),
      process_(std::move(process)) {}

Pages::~Pages() {
  // Areas unpin before they let go of their pages.
  for (const u32 users : state_.users) IOMMUFD_ASSERT(users == 0);
}

void Pages::make_state_locked() {
  if (page_count_ == 1) {
    state_ = {std::span(&one_user_, 1), std::span(&one_frame_, 1)};
    return;
  }
  many_users_ = std::make_unique<u32[]>(page_count_);
  many_frames_ = std::make_unique<PhysAddr[]>(page_count_);
  state_ = {std::span(many_users_.get(), page_count_), std::span(many_frames_.get(), page_count_)};
}

namespace {

// The account that is charged by a mode; null when none is.
Account* account_of(Process& process, ChargeMode mode) {
  switch (mode) {
    case ChargeMode::kNone:
    case ChargeMode::kExempt: return nullptr;
    case ChargeMode::kUser: return &process.user_locked();
    case ChargeMode::kProcess: return &process.vm_locked();
  }
  return nullptr;
}

}  // namespace

Result<void> Pages::charge_locked(u64 pages) {
  if (mode_ == ChargeMode::kExempt) return {};
  if (Account* account = account_of(*process_, mode_))
    IOMMUFD_TRY(account->charge(pages, IOMMUFD_TRY(process_->memlock_limit())));
  process_->vm_pinned().charge_unlimited(pages);
  pinned_ += pages;
  return {};
}

void Pages::uncharge_locked(u64 pages) {
  if (mode_ == ChargeMode::kExempt) return;
  if (Account* account = account_of(*process_, mode_)) account->uncharge(pages);
  process_->vm_pinned().uncharge(pages);
  pinned_ -= pages;
}

u64 Pages::charge_for(const Process& process) {
  const MutexLock lock(mu_);
  return process_.get() == &process || mode_ == ChargeMode::kNone ? 0 : pinned_;
}

void Pages::change_process(Ref<Process> process, u64 prepaid) {
  Ref<Process> old;  // dropped without the lock
  const MutexLock lock(mu_);
  if (Account* account = account_of(*process, mode_)) {
    account->uncharge(prepaid);
    account->charge_unlimited(pinned_);
    account_of(*process_, mode_)->uncharge(pinned_);
  }
  process->vm_pinned().charge_unlimited(pinned_);
  process_->vm_pinned().uncharge(pinned_);
  old = std::exchange(process_, std::move(process));
}

// Pins [first, first + count), none of which has a user, and charges nobody.
Result<void> Pages::pin_fresh_locked(u64 first, u64 count) {
  const UserVa base{(start_ & ~kPageMask) + first * kPageSize};
  const Access want = writable() ? Access::kReadWrite : Access::kRead;
  thread_local std::vector<PageRun> runs;  // kept: no allocation per pin
  runs.clear();
  IOMMUFD_TRY(fault::point(Errno::kFault));
  IOMMUFD_TRY(space_->populate(base, count, want, runs));

  const std::span<PhysAddr> frames = state_.frames.subspan(first, count);
  u64 done = 0;
  Rollback undo{[&] { phys_.unpin_and_release(frames.first(done)); }};
  for (const PageRun& run : runs) {
    IOMMUFD_ASSERT(done + run.pages <= count);
    IOMMUFD_TRY(phys_.pin(*space_, advance(base, done * kPageSize), run, frames.subspan(done, run.pages)));
    done += run.pages;
  }
  IOMMUFD_ASSERT(done == count);
  undo.commit();
  std::ranges::fill(state_.users.subspan(first, count), 1);
  return {};
}

Result<void> Pages::pin(u64 first, u64 count) {
  if (page_count_ > kMaxSpan >> kPageShift || start_ > kMaxSpan)
    return backing() == Backing::kProcess
               ? reject(Errno::kFault,
                        {"user_va", start_, "reaches past the user address space", "iommufd-core 3.4 row 11"})
               : reject(Errno::kInval, {"start", start_, "reaches past the end of the file", "iommufd-core 3.6"});
  const MutexLock lock(mu_);
  if (state_.users.empty()) make_state_locked();
  u64 done = 0;
  u64 charged = 0;
  Rollback undo{[&]() IOMMUFD_REQUIRES(mu_) {
    FrameList undone(phys_);
    take_out_locked(first, done, undone);
  }};
  while (done < count) {
    // Runs of pages with a user and runs without alternate.
    const u64 at = first + done;
    const bool fresh = state_.users[at] == 0;
    u64 run = 1;
    while (done + run < count && (state_.users[at + run] == 0) == fresh) ++run;
    if (fresh) {
      IOMMUFD_TRY(pin_fresh_locked(at, run));
      charged += run;
    } else {
      for (u32& users : state_.users.subspan(at, run)) ++users;
    }
    done += run;
  }
  // The limit is looked at last (4.4): a page that cannot be had is reported before.
  if (charged != 0) IOMMUFD_TRY(charge_locked(charged));
  undo.commit();
  return {};
}

// Ends one use of each page. Returns how many have none left; they are still charged.
u64 Pages::take_out_locked(u64 first, u64 count, FrameList& out) {
  u64 dropped = 0;
  for (u64 i = first; i < first + count; ++i) {
    IOMMUFD_ASSERT(state_.users[i] != 0);
    if (--state_.users[i] != 0) continue;
    out.add(state_.frames[i]);
    ++dropped;
  }
  return dropped;
}

void Pages::unpin(u64 first, u64 count, FrameList& out) {
  const MutexLock lock(mu_);
  uncharge_locked(take_out_locked(first, count, out));
}

void Pages::unpin_and_release(u64 first, u64 count) {
  FrameList frames(phys_);
  unpin(first, count, frames);
}

std::optional<PhysAddr> Pages::join(u64 page) {
  const MutexLock lock(mu_);
  if (state_.users.empty() || state_.users[page] == 0) return std::nullopt;
  ++state_.users[page];
  return state_.frames[page];
}

namespace {

Result<void> copy_at(AddressSpace& space, UserVa va, std::span<std::byte> buf) { return space.read(va, buf); }
Result<void> copy_at(AddressSpace& space, UserVa va, std::span<const std::byte> buf) { return space.write(va, buf); }

Result<void> copy_at(const PhysicalMemory::Location& at, std::span<std::byte> buf) {
  if (at.direct == nullptr) return copy_at(*at.space, at.va, buf);
  if (guarded_copy(buf.data(), at.direct, buf.size()) != buf.size()) return Err(Errno::kFault);
  return {};
}
Result<void> copy_at(const PhysicalMemory::Location& at, std::span<const std::byte> buf) {
  if (at.direct == nullptr) return copy_at(*at.space, at.va, buf);
  if (guarded_copy(at.direct, buf.data(), buf.size()) != buf.size()) return Err(Errno::kFault);
  return {};
}

}  // namespace

template <class Byte>
Result<void> Pages::copy_in_page(u64 offset, std::span<Byte> part) {
  IOMMUFD_TRY(fault::point(Errno::kInval));
  const u64 page = offset >> kPageShift;
  const u64 base = start_ & ~kPageMask;
  if (const std::optional<PhysAddr> frame = join(page)) {
    const Rollback end_use{[&] { unpin_and_release(page, 1); }};
    // Outside of a DMA transaction, but the pin that was just taken keeps the frame.
    return copy_at(phys_.resolve(advance(*frame, offset & kPageMask)), part);
  }
  if (space_->backing() == Backing::kFile) {
    std::vector<PageRun> runs;
    IOMMUFD_TRY(space_->populate(UserVa{base + page * kPageSize}, 1, Access::kRead, runs));
  }
  return copy_at(*space_, UserVa{base + offset}, part);
}

template <class Byte>
Result<void> Pages::copy(u64 offset, std::span<Byte> buf, AddressSpace* caller) {
  if (space_->backing() == Backing::kDmaBuf)
    return reject(Errno::kInval, {"iova", offset, "memory of a device cannot be copied", "iommufd-core 4.6"});
  const bool own = caller != nullptr && caller->memory_id() == space_->memory_id();
  if (own) return copy_at(*caller, UserVa{(start_ & ~kPageMask) + offset}, buf);
  while (!buf.empty()) {
    const std::size_t n = std::min<u64>(buf.size(), kPageSize - (offset & kPageMask));
    IOMMUFD_TRY(copy_in_page(offset, buf.first(n)));
    offset += n;
    buf = buf.subspan(n);
  }
  return {};
}

Result<void> Pages::read(u64 offset, std::span<std::byte> buf, AddressSpace* caller) {
  return copy(offset, buf, caller);
}

Result<void> Pages::write(u64 offset, std::span<const std::byte> buf, AddressSpace* caller) {
  return copy(offset, buf, caller);
}

}  // namespace iommufd::mem

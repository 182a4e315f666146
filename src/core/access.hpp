// SPDX-License-Identifier: BSD-3-Clause
// ACCESS: a software user of an IOAS, as a driver without DMA of its own has it (spec iommufd-core 4.6): it pins ranges
// of IOVA, or copies bytes, and is asked to unpin what is about to be unmapped.
//
// Invariants
// * Attached, it is one user of its IOAS; the IOAS's alignment is at least a page while the access may pin.
// * What it has pinned stays mapped until it unpins it. Pages are shared with domains and other accesses, and charged once.
// * The context lives as long as the access.
//
// Lock: mu_ (kAccess) says where the access is attached. It is held while attaching, and not while a pin or a copy runs:
// those are counted, and who leaves an IOAS waits for them. The driver is called without it.
#pragma once

#include <span>
#include <vector>

#include "base/ref.hpp"
#include "base/result.hpp"
#include "base/sync.hpp"
#include "core/context.hpp"
#include "core/object.hpp"
#include "mem/address_space.hpp"

namespace iommufd::core {

class Ioas;

// The driver behind an access. It outlives destroy().
class AccessDriver {
 public:
  // [iova, iova + length) is about to be unmapped, or (0, 2^64 - 1) the access leaves its IOAS: unpin everything that
  // intersects it before returning. Called with no lock held, also when nothing is pinned there, by any thread.
  virtual void unmap(u64 iova, u64 length) = 0;

 protected:
  ~AccessDriver() = default;
};

enum class Pinning : u8 { kNever, kAllowed };

class IoasAccess final : public Object {
 public:
  static constexpr ObjectType kType = ObjectType::kAccess;

  // Makes the object, publishes it and keeps it in use until destroy(). Errors: kNoMem, kBusy (ids used up).
  static Result<Ref<IoasAccess>> create(const Ref<Context>& ctx, Pinning pinning, AccessDriver& driver);
  // Detaches and ends the object. The driver is not called any more when this returns.
  void destroy() IOMMUFD_EXCLUDES(mu_);

  // Errors: kInval (attached already), kNoEnt (no IOAS), kBusy (65536 accesses), kAddrInUse (alignment).
  Result<void> attach(ObjectId ioas) IOMMUFD_EXCLUDES(mu_);
  // Moves to another IOAS; what is pinned in the old one is unpinned by the driver. Errors: kNoEnt (not attached, no IOAS),
  // kBusy (a detach is under way), kAddrInUse (alignment; the old IOAS is kept).
  Result<void> replace(ObjectId ioas) IOMMUFD_EXCLUDES(mu_);
  // Not attached: nothing happens.
  void detach() IOMMUFD_EXCLUDES(mu_);

  // Pins [iova, iova + length), all or nothing, and appends the address of each page to `frames`.
  // Errors: spec 4.6 rows 1 to 8. Pre: the access may pin.
  Result<void> pin(u64 iova, u64 length, Access want, std::vector<PhysAddr>& frames) IOMMUFD_EXCLUDES(mu_);
  // Ends what one pin() of exactly this range did. Never fails.
  void unpin(u64 iova, u64 length) IOMMUFD_EXCLUDES(mu_);

  // Copies bytes, area by area: what was copied before an error stays copied. `caller` (may be null) is the memory of the
  // one who asks: memory of his own is reached by his addresses, as it is mapped now. Errors: spec 4.6 rows 1 to 9.
  Result<void> read(u64 iova, std::span<std::byte> buf, mem::AddressSpace* caller) IOMMUFD_EXCLUDES(mu_);
  Result<void> write(u64 iova, std::span<const std::byte> buf, mem::AddressSpace* caller) IOMMUFD_EXCLUDES(mu_);

  // For fuzzers (selftest-abi 3.20): `offset` into the nth mapping; 0 when there is none.
  [[nodiscard]] u64 nth_iova(u32 nth, u64 offset) IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] Pinning pinning() const { return pinning_; }
  [[nodiscard]] AccessDriver& driver() const { return driver_; }

 private:
  IoasAccess(Ref<Context> ctx, Pinning pinning, AccessDriver& driver);
  ~IoasAccess() override;
  void teardown() override {}

  enum class State : u8 { kDetached, kAttached, kLeaving };
  // A pin or a copy under way.
  class Call;
  // Lets the driver unpin everything and takes the access out of its IOAS. Pre: state_ is kLeaving, set by the caller.
  void leave(Ioas& from) IOMMUFD_EXCLUDES(mu_);
  void begin_leaving_locked() IOMMUFD_REQUIRES(mu_);

  const Ref<Context> ctx_;
  const Pinning pinning_;
  AccessDriver& driver_;
  Use<IoasAccess> creator_;  // keeps user space from destroying the object

  Mutex mu_{LockRank::kAccess};
  CondVar idle_;
  Use<Ioas> ioas_ IOMMUFD_GUARDED_BY(mu_);  // while leaving too: unpin() goes there
  State state_ IOMMUFD_GUARDED_BY(mu_) = State::kDetached;
  u32 calls_ IOMMUFD_GUARDED_BY(mu_) = 0;
};

}  // namespace iommufd::core

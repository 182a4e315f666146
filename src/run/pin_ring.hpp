// SPDX-License-Identifier: BSD-3-Clause
// Real pins of private memory, without privilege: an io_uring of the server whose registered buffers are pages of the client.
// A client is made to register them (inject.hpp): the kernel pins what the *registering* process has at that address.
// The server then copies to and from them with READ_FIXED and WRITE_FIXED against a memfd of its own, whatever the client
// does with its addresses: munmap, MADV_DONTNEED, fork and copy-on-write, exec.
//
// The kernel charges the pages to the server's RLIMIT_MEMLOCK (unless it has CAP_IPC_LOCK); our own accounting of the
// client's limit is another matter. At most kSlots buffers of 1 GiB.
//
// Lock: mu_ (kLeaf), held during a copy.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/fd.hpp"
#include "base/ref.hpp"
#include "base/sync.hpp"
#include "base/sys.hpp"
#include "mem/pin_keeper.hpp"
#include "run/call_scope.hpp"

namespace iommufd::run {

class PinRing final : public RefCounted {
 public:
  static constexpr u32 kSlots = 16384;
  static constexpr u64 kMaxLength = u64{1} << 30;

  // `keeper` (null: nobody) outlives it. Errors: those of io_uring_setup (kNoSys, kPerm: not allowed here; kNoMem), and of the keeper.
  static Result<Ref<PinRing>> create(mem::PinKeeper* keeper);

  // Holds [start, start + length) of the caller's memory, page aligned, at most kMaxLength, and returns the slot. Errors: those
  // of injection (kPerm, kOpNotSupp, kSrch); kNoMem (the limit, or no slot left); kFault, kOpNotSupp (memory that cannot be
  // held, or that may not be written).
  Result<u32> pin(CallScope& call, u64 start, u64 length) IOMMUFD_EXCLUDES(mu_);
  // Never fails. Does nothing when the keeper keeps all pins.
  void unpin(u32 slot) IOMMUFD_EXCLUDES(mu_);

  // Copies between what is held in `slot`, named by the address that it had when it was pinned, and `buf`. Pre: it lies
  // inside. Errors: those of the operation.
  Result<void> read(u32 slot, u64 va, std::span<std::byte> buf) IOMMUFD_EXCLUDES(mu_);
  Result<void> write(u32 slot, u64 va, std::span<const std::byte> buf) IOMMUFD_EXCLUDES(mu_);

 private:
  struct Layout;  // of the rings: struct io_uring_params
  PinRing(Fd ring, Fd staging, sys::Mapping staging_memory, sys::Mapping rings, sys::Mapping entries,
          const Layout& layout, mem::PinKeeper* keeper);
  ~PinRing() override;
  Result<void> run_locked(u8 operation, u32 slot, u64 va, std::size_t size) IOMMUFD_REQUIRES(mu_);
  [[nodiscard]] u32& word(u32 offset) const;
  void give_back(u32 slot) IOMMUFD_EXCLUDES(mu_);

  const Fd ring_;
  const Fd staging_;
  const sys::Mapping staging_memory_, rings_, entries_;
  const std::unique_ptr<const Layout> layout_;
  mem::PinKeeper* const keeper_;
  Mutex mu_{LockRank::kLeaf};
  std::vector<u32> free_ IOMMUFD_GUARDED_BY(mu_);
  std::vector<s64> pages_ IOMMUFD_GUARDED_BY(mu_);  // of each slot
};

}  // namespace iommufd::run

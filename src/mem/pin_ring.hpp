// SPDX-License-Identifier: BSD-3-Clause
// Real pins: an io_uring of ours whose registered buffers are pages of somebody's memory. The kernel pins what the *registering* process
// has at that address: a client that is made to register (run/client_pins.hpp), or we ourselves (pin_own()). We then copy to and
// from them with READ_FIXED and WRITE_FIXED against a memfd of our own, whatever becomes of the addresses: munmap, MADV_DONTNEED, fork
// and copy-on-write, exec, a file that is cut short.
//
// The kernel charges the pages to our RLIMIT_MEMLOCK (unless we have CAP_IPC_LOCK); our own accounting of the client's limit is
// another matter. At most kSlots buffers of 1 GiB.
//
// Lock: mu_ (kLeaf), held during a copy.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/fd.hpp"
#include "base/ref.hpp"
#include "base/sync.hpp"
#include "base/sys.hpp"
#include "mem/pin_keeper.hpp"

namespace iommufd::mem {

class PinRing final : public RefCounted {
 public:
  static constexpr u32 kSlots = 16384;
  static constexpr u64 kMaxLength = u64{1} << 30;

  // `keeper` (null: nobody) outlives it. Errors: those of io_uring_setup (kNoSys, kPerm: not allowed here; kNoMem), and of the keeper.
  static Result<Ref<PinRing>> create(PinKeeper* keeper);

  // Makes the system call that fills `slot` of `ring`, in the process whose memory it is.
  using Fill = std::function<Result<void>(int ring, u32 slot)>;
  // Has `fill` fill a free slot with `length` bytes, and returns it. Errors: kNoMem (no slot left), those of `fill`.
  Result<u32> pin(u64 length, const Fill& fill) IOMMUFD_EXCLUDES(mu_);
  // The same with memory of this process, page aligned, at most kMaxLength. Errors: kNoMem (the limit, or no slot left); kFault,
  // kOpNotSupp (memory that cannot be held, or that may not be written).
  Result<u32> pin_own(std::span<const std::byte> memory) IOMMUFD_EXCLUDES(mu_);
  // Never fails. Does nothing when the keeper keeps all pins.
  void unpin(u32 slot) IOMMUFD_EXCLUDES(mu_);

  // Copies between what is held in `slot`, named by the address that it had when it was pinned, and `buf`. Pre: it lies
  // inside. Errors: those of the operation.
  Result<void> read(u32 slot, u64 va, std::span<std::byte> buf) IOMMUFD_EXCLUDES(mu_);
  Result<void> write(u32 slot, u64 va, std::span<const std::byte> buf) IOMMUFD_EXCLUDES(mu_);

 private:
  struct Layout;  // of the rings: struct io_uring_params
  PinRing(Fd ring, Fd staging, sys::Mapping staging_memory, sys::Mapping rings, sys::Mapping entries,
          const Layout& layout, PinKeeper* keeper);
  ~PinRing() override;
  Result<void> run_locked(u8 operation, u32 slot, u64 va, std::size_t size) IOMMUFD_REQUIRES(mu_);
  [[nodiscard]] u32& word(u32 offset) const;
  void give_back(u32 slot) IOMMUFD_EXCLUDES(mu_);

  const Fd ring_;
  const Fd staging_;
  const sys::Mapping staging_memory_, rings_, entries_;
  const std::unique_ptr<const Layout> layout_;
  PinKeeper* const keeper_;
  Mutex mu_{LockRank::kLeaf};
  std::vector<u32> free_ IOMMUFD_GUARDED_BY(mu_);
  std::vector<s64> pages_ IOMMUFD_GUARDED_BY(mu_);  // of each slot
};

}  // namespace iommufd::mem

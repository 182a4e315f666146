// SPDX-License-Identifier: BSD-3-Clause
// The memory of the process that the engine lives in, for programs that link the library (VMMs, simulators, tests).
// A page is identified by its address. Pages that the engine has pinned are touched directly: the program keeps them
// mapped until it unmaps them from the IOAS, as a driver keeps its DMA buffers.
#pragma once

#include <array>
#include <atomic>

#include "base/sync.hpp"
#include "mem/address_space.hpp"
#include "mem/caller.hpp"

namespace iommufd::mem {

class LocalMemory final : public AddressSpace {
 public:
  // The program promises that [start, start + length) is mapped, present and writable for as long as this object lives:
  // the RAM of a guest, a pool of DMA buffers. Pages of such memory need no system call to be pinned. Page aligned; at
  // most kPromises ranges (kNoSpc). Thread-safe.
  static constexpr std::size_t kPromises = 64;
  Result<void> promise(UserVa start, u64 length);

  // Pointers of calls are checked: process_vm_readv on ourselves, so that a bad one is kFault and not a crash.
  Result<std::size_t> read_some(UserVa from, std::span<std::byte> buf) override;
  Result<std::size_t> write_some(UserVa to, std::span<const std::byte> buf) override;
  // madvise(MADV_POPULATE_READ/WRITE): faults pages in, with the permission check and the copy-on-write break of a pin.
  Result<void> populate(UserVa page, u64 count, Access access, std::vector<PageRun>& out) override;
  std::byte* direct(UserVa va) override;

 private:
  struct Promise {
    u64 start;
    u64 length;
  };
  Mutex mu_{LockRank::kLeaf};  // one promise at a time
  std::array<Promise, kPromises> promises_{};
  std::atomic<std::size_t> promise_count_{0};
};

// This process; one account for the user. Its RLIMIT_MEMLOCK is that of the moment when the object was made or
// refresh_limit() was called last: reading it at every pin would be the dearest part of the pin.
class LocalProcess final : public Process {
 public:
  LocalProcess();
  Result<u64> memlock_limit() override { return limit_.load(std::memory_order_relaxed); }
  void refresh_limit();

 private:
  std::atomic<u64> limit_{0};
};

}  // namespace iommufd::mem

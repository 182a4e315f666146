// SPDX-License-Identifier: BSD-3-Clause
// The memory of the process that the engine lives in, for programs that link the library (VMMs, simulators, tests).
// A page is identified by its address. Pages that the engine has pinned are touched directly: the program keeps them
// mapped until it unmaps them from the IOAS, as a driver keeps its DMA buffers.
#pragma once

#include "mem/address_space.hpp"
#include "mem/caller.hpp"

namespace iommufd::mem {

class LocalMemory final : public AddressSpace {
 public:
  // Pointers of calls are checked: process_vm_readv on ourselves, so that a bad one is kFault and not a crash.
  Result<std::size_t> read_some(UserVa from, std::span<std::byte> buf) override;
  Result<std::size_t> write_some(UserVa to, std::span<const std::byte> buf) override;
  // madvise(MADV_POPULATE_READ/WRITE): faults pages in, with the permission check and the copy-on-write break of a pin.
  Result<void> populate(UserVa page, u64 count, Access access, std::vector<PageRun>& out) override;
  std::byte* direct(UserVa va) override;
};

// This process: its RLIMIT_MEMLOCK; one account for the user.
class LocalProcess final : public Process {
 public:
  LocalProcess();
  Result<u64> memlock_limit() override;
};

}  // namespace iommufd::mem

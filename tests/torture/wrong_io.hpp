// SPDX-License-Identifier: BSD-3-Clause
// I/O commands that are wrong in one way each, with the status that the sheet gives them.
#pragma once

#include <optional>

#include "tests/torture/slot.hpp"

namespace torture {

// Status as in a completion entry above the phase bit: SC, SCT << 8, DNR 0x4000.
constexpr u16 kDoNotRetry = 0x4000, kTransferError = 0x0004, kCompareFailure = 0x0285;

enum IoOpcode : u8 { kFlush = 0, kWrite = 1, kRead = 2, kCompare = 5, kWriteZeroes = 8, kDeallocate = 9 };

// The disk and the bus, as far as mistakes need it.
struct Limits {
  u64 blocks = 0;
  u32 block_size = 512;
  u32 namespaces = 1;
  u64 most_bytes = 0;  // of one command
  std::optional<u64>
      hole;  // an address that nothing is mapped at, page-aligned, with more than 1 MiB of nothing behind it
};

struct Mistake {
  const char* what;
  u16 status;
  enum Shape : u8 {
    kRange,      // any command with a range of blocks
    kTransfer,   // a read, write or compare with PRP entries
    kTwoPages,   // the same with data in exactly two pages
    kPrpList,    // in three or more
    kScattered,  // with an SGL
    kRanges,     // Dataset Management
  } shape;
  bool on_bus;  // found when the data moves: some of it may have moved
  void (*make)(nvme::Sqe& sqe, Slot& slot, const Limits& limits, Random& random);
};
std::span<const Mistake> io_mistakes();

}  // namespace torture

// SPDX-License-Identifier: BSD-3-Clause
// What host and controller write into each other's rings (NVMe 1.4, 4.2 and 4.6; spec nvme 4 and 5).
#pragma once

#include <array>

#include "base/bits.hpp"
#include "base/types.hpp"

namespace iommufd::models::nvme {

// The data pointer: two PRP entries, or one SGL descriptor.
struct DataPointer {
  u64 prp1 = 0;
  u64 prp2 = 0;
};

struct Sqe {
  u8 opcode = 0;
  u8 flags = 0;
  u16 cid = 0;
  u32 nsid = 0;
  std::array<u32, 2> cdw2{};
  u64 metadata = 0;
  DataPointer data;
  u32 cdw10 = 0, cdw11 = 0, cdw12 = 0, cdw13 = 0, cdw14 = 0, cdw15 = 0;

  using Fuse = Bits<1, 0>;
  using Psdt = Bits<7, 6>;  // 0: PRP; 1 and 2: SGL
};
static_assert(sizeof(Sqe) == 64);

struct Cqe {
  u32 result = 0;
  u32 reserved = 0;
  u16 sq_head = 0;
  u16 sq_id = 0;
  u16 cid = 0;
  u16 status = 0;  // bit 0: the phase
};
static_assert(sizeof(Cqe) == 16);

enum class AdminOpcode : u8 {
  kDeleteSq = 0x00,
  kCreateSq = 0x01,
  kGetLogPage = 0x02,
  kDeleteCq = 0x04,
  kCreateCq = 0x05,
  kIdentify = 0x06,
  kAbort = 0x08,
  kSetFeatures = 0x09,
  kGetFeatures = 0x0a,
  kAsyncEvent = 0x0c,
  kDoorbellBuffer = 0x7c,
};

enum class IoOpcode : u8 {
  kFlush = 0x00,
  kWrite = 0x01,
  kRead = 0x02,
  kCompare = 0x05,
  kWriteZeroes = 0x08,
  kDatasetManagement = 0x09,
};

// Fields of command dwords that more than one place reads.
using QueueId = Bits<15, 0>;         // CDW10 of queue commands
using QueueSize = Bits<31, 16>;      // CDW10, 0-based
using QueueContiguous = Bits<0, 0>;  // CDW11
inline constexpr u32 kAllNamespaces = 0xffff'ffff;

}  // namespace iommufd::models::nvme

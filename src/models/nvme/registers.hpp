// SPDX-License-Identifier: BSD-3-Clause
// BAR 0 of an NVMe controller (NVMe 1.4, 3.1; spec nvme 1 and 2).
#pragma once

#include "base/bits.hpp"
#include "base/types.hpp"

namespace iommufd::models::nvme {

inline constexpr u64 kBarSize = 0x4000;
inline constexpr u64 kDoorbells = 0x1000, kMsixTable = 0x2000, kMsixPending = 0x3000;
// One I/O queue pair needs 16 bytes of the page with the MSI-X table, and the admin pair too.
inline constexpr u32 kMaxIoQueues = 255;

namespace reg {
inline constexpr u64 kCap = 0x00, kVersion = 0x08, kIntms = 0x0c, kIntmc = 0x10, kCc = 0x14, kCsts = 0x1c, kNssr = 0x20,
                     kAqa = 0x24, kAsq = 0x28, kAcq = 0x30;
inline constexpr u64 kEnd =
    0x38;  // what lies between here and the doorbells reads 0: no memory buffer, no boot partition
}  // namespace reg

inline constexpr u32 kVersionValue = 0x0001'0400;

namespace cap {
using Mqes = Bits<15, 0>;  // 0-based
using Cqr = Bits<16, 16>;
using To = Bits<31, 24>;  // 500 ms each
using CssNvm = Bits<37, 37>;
using MpsMax = Bits<55, 52>;
}  // namespace cap
inline constexpr u32 kMaxQueueEntries = 2048;
inline constexpr unsigned kMaxPageLg2 = 16;
inline constexpr u64 kCapValue = cap::Mqes::put(kMaxQueueEntries - 1) | cap::Cqr::put(1) | cap::To::put(15) |
                                 cap::CssNvm::put(1) | cap::MpsMax::put(kMaxPageLg2 - 12);
static_assert(kCapValue == 0x0040'0020'0f01'07ff);

namespace cc {
using En = Bits<0, 0>;
using Css = Bits<6, 4>;
using Mps = Bits<10, 7>;
using Ams = Bits<13, 11>;
using Shn = Bits<15, 14>;
using IoSqes = Bits<19, 16>;
using IoCqes = Bits<23, 20>;
}  // namespace cc

namespace csts {
inline constexpr u32 kReady = 1, kFatal = 2, kShutdownOccurring = 1 << 2, kShutdownComplete = 2 << 2,
                     kShutdownMask = 3 << 2;
}  // namespace csts

namespace aqa {
using SqSize = Bits<11, 0>;  // 0-based
using CqSize = Bits<27, 16>;
}  // namespace aqa

struct Registers {
  u32 intms = 0;
  u32 cc = 0;
  u32 csts = 0;
  u32 aqa = 0;
  u64 asq = 0;
  u64 acq = 0;

  [[nodiscard]] bool enabled() const { return cc::En::get(cc) != 0; }
  [[nodiscard]] unsigned page_lg2() const { return 12 + static_cast<unsigned>(cc::Mps::get(cc)); }
};

// A doorbell by its number: even ones are tails of submission queues, odd ones heads of completion queues.
constexpr u64 doorbell_offset(u32 number) { return kDoorbells + u64{number} * 4; }

}  // namespace iommufd::models::nvme

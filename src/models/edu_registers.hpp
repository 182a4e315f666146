// SPDX-License-Identifier: BSD-3-Clause
// BAR 0 of edu (spec edu 2).
#pragma once

#include "base/types.hpp"

namespace iommufd::models::edu {

inline constexpr u64 kBarSize = 1 << 20;
inline constexpr u32 kMsixBar = 1;  // with MSI-X: nothing else is in it

inline constexpr u64 kId = 0x00, kLiveness = 0x04, kFactorial = 0x08, kStatus = 0x20, kIrqStatus = 0x24,
                     kIrqRaise = 0x60, kIrqAck = 0x64;
inline constexpr u64 kDmaSource = 0x80, kDmaDest = 0x88, kDmaCount = 0x90, kDmaCommand = 0x98;  // 4 or 8 bytes wide
inline constexpr u64 kWide = 0x80;  // from here on 8-byte accesses are served too

inline constexpr u32 kIdValue = 0x010000ed;  // version 1.0
inline constexpr u32 kStatusComputing = 0x01, kStatusIrqFactorial = 0x80;
inline constexpr u32 kIrqFactorial = 0x1, kIrqDma = 0x100;
inline constexpr u64 kDmaRun = 1, kDmaToMemory = 2, kDmaIrq = 4;

// The device's own address space: one buffer.
inline constexpr u64 kBuffer = 0x40000, kBufferSize = 4096;

}  // namespace iommufd::models::edu

// SPDX-License-Identifier: BSD-3-Clause
// BAR 0 of Intel I/OAT with one channel, and its descriptors (spec ioat 2, 3).
#pragma once

#include "base/types.hpp"

namespace iommufd::models::ioat {

inline constexpr u64 kBarSize = 16 << 10, kMsixTable = 0x2000, kMsixPending = 0x3000;

inline constexpr u64 kChannelCount = 0x00, kTransferCap = 0x01, kIntrCtrl = 0x03, kAttnStatus = 0x04, kVersion = 0x08,
                     kCapabilities = 0x10;
inline constexpr u64 kChanCtrl = 0x80, kDmaComp = 0x82, kChanCmd = 0x84, kDmaCount = 0x86, kChanStatus = 0x88,
                     kChainAddr = 0x90, kChanCompletion = 0x98, kCurrent = 0xa0, kChanErr = 0xa8, kChanErrMask = 0xac;
inline constexpr u64 kRegistersEnd = 0x180;  // nothing behind it

inline constexpr u32 kCapPageBreak = 1 << 0, kCapFill = 1 << 6;

inline constexpr u8 kIntrMaster = 1 << 0, kIntrStatus = 1 << 1, kIntrPending = 1 << 2, kIntrMsix = 1 << 3;

inline constexpr u16 kCtrlRearm = 1 << 0, kCtrlErrorCompletion = 1 << 2, kCtrlErrorAbort = 1 << 3,
                     kCtrlErrorInterrupt = 1 << 4;

inline constexpr u8 kCmdSuspend = 0x04, kCmdReset = 0x20;

// State in the low bits of CHANSTS and of what is written back; the address of the last descriptor above.
enum class State : u8 { kActive = 0, kDone = 1, kSuspended = 2, kHalted = 3, kArmed = 4 };

inline constexpr u32 kErrSource = 1 << 0, kErrDestination = 1 << 1, kErrNext = 1 << 2, kErrAlignment = 1 << 3,
                     kErrChainAddr = 1 << 4, kErrControl = 1 << 10, kErrLength = 1 << 11, kErrCompletion = 1 << 12;

struct Descriptor {
  u32 size = 0;
  u32 control = 0;
  u64 source = 0;  // or the pattern of a fill
  u64 destination = 0;
  u64 next = 0;
  u64 reserved[2] = {};
  u64 user[2] = {};
};
static_assert(sizeof(Descriptor) == 64);
inline constexpr u64 kDescriptorAlign = 64;

inline constexpr u32 kDescInterrupt = 1 << 0, kDescCompletion = 1 << 3, kDescNull = 1 << 5;
inline constexpr unsigned kDescOpcodeShift = 24;
inline constexpr u32 kOpCopy = 0x00, kOpFill = 0x01;

}  // namespace iommufd::models::ioat

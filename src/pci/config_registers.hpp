// SPDX-License-Identifier: BSD-3-Clause
// Offsets and bits of PCI configuration space (PCI Local Bus 3.0, chapter 6 and section 6.8; PCI Express Base, 7.5).
#pragma once

#include "base/types.hpp"

namespace iommufd::pci::reg {

inline constexpr u32 kConfigSize = 256;  // conventional
inline constexpr u32 kHeaderSize = 64;   // type 0 header
inline constexpr u32 kCapStart = kHeaderSize;

inline constexpr u32 kVendor = 0x00, kDevice = 0x02, kCommand = 0x04, kStatus = 0x06, kRevision = 0x08, kClass = 0x09,
                     kCacheLine = 0x0c, kLatency = 0x0d, kHeaderType = 0x0e, kBist = 0x0f, kBar0 = 0x10, kCis = 0x28,
                     kSubsystemVendor = 0x2c, kSubsystem = 0x2e, kRom = 0x30, kCapPointer = 0x34, kInterruptLine = 0x3c,
                     kInterruptPin = 0x3d;

inline constexpr u16 kCommandIo = 1 << 0, kCommandMemory = 1 << 1, kCommandMaster = 1 << 2,
                     kCommandIntxDisable = 1 << 10;
inline constexpr u16 kStatusInterrupt = 1 << 3, kStatusCapList = 1 << 4;

inline constexpr u32 kBarIo = 1, kBarMemory64 = 4, kBarPrefetch = 8, kBarMemoryFlags = 0xf, kBarIoFlags = 0x3;

inline constexpr u8 kCapVendorSpecific = 0x09;

// MSI capability (6.8.1), relative to its start.
inline constexpr u8 kCapMsi = 0x05;
inline constexpr u32 kMsiFlags = 2, kMsiAddressLow = 4, kMsiAddressHigh = 8, kMsiData64 = 12, kMsiSize64 = 14;
inline constexpr u16 kMsiEnable = 1 << 0, kMsiCapableMask = 7 << 1, kMsiEnabledMask = 7 << 4, kMsi64 = 1 << 7;
inline constexpr unsigned kMsiCapableShift = 1, kMsiEnabledShift = 4;

}  // namespace iommufd::pci::reg

// SPDX-License-Identifier: BSD-3-Clause
// Offsets and bits of PCI configuration space (PCI Local Bus 3.0, chapter 6 and section 6.8; PCI Bus Power Management 1.2;
// PCI Express Base 4.0, 7.5 to 7.8; PCI-to-PCI Bridge 1.2, 3.2).
#pragma once

#include "base/types.hpp"

namespace iommufd::pci::reg {

inline constexpr u32 kConfigSize = 256;           // conventional
inline constexpr u32 kExtendedConfigSize = 4096;  // PCI Express
inline constexpr u32 kHeaderSize = 64;            // of either type
inline constexpr u32 kCapStart = kHeaderSize;
inline constexpr u32 kExtendedStart = kConfigSize;

inline constexpr u32 kVendor = 0x00, kDevice = 0x02, kCommand = 0x04, kStatus = 0x06, kRevision = 0x08, kClass = 0x09,
                     kCacheLine = 0x0c, kLatency = 0x0d, kHeaderType = 0x0e, kBist = 0x0f, kBar0 = 0x10, kCis = 0x28,
                     kSubsystemVendor = 0x2c, kSubsystem = 0x2e, kRom = 0x30, kCapPointer = 0x34, kInterruptLine = 0x3c,
                     kInterruptPin = 0x3d;

inline constexpr u16 kCommandIo = 1 << 0, kCommandMemory = 1 << 1, kCommandMaster = 1 << 2,
                     kCommandIntxDisable = 1 << 10;
inline constexpr u16 kStatusInterrupt = 1 << 3, kStatusCapList = 1 << 4;
inline constexpr u8 kHeaderBridge = 1, kHeaderMultiFunction = 0x80;

inline constexpr u32 kBarIo = 1, kBarMemory64 = 4, kBarPrefetch = 8, kBarMemoryFlags = 0xf, kBarIoFlags = 0x3;
inline constexpr u32 kRomEnable = 1;

// The header of a bridge, from its bus numbers on.
inline constexpr u32 kPrimaryBus = 0x18, kSecondaryBus = 0x19, kSubordinateBus = 0x1a, kIoBase = 0x1c, kIoLimit = 0x1d,
                     kMemoryBase = 0x20, kMemoryLimit = 0x22, kPrefetchBase = 0x24, kPrefetchLimit = 0x26,
                     kPrefetchBaseUpper = 0x28, kBridgeRom = 0x38, kBridgeControl = 0x3e;

// Capabilities; offsets are relative to their start.
inline constexpr u8 kCapPm = 0x01, kCapMsi = 0x05, kCapVendorSpecific = 0x09, kCapBridgeSubsystem = 0x0d,
                    kCapPcie = 0x10, kCapMsix = 0x11, kCapAf = 0x13;

// Power management (PM 1.2, 3.2).
inline constexpr u32 kPmCapabilities = 2, kPmControl = 4, kPmSize = 8;
inline constexpr u16 kPmVersion = 3, kPmPmeSupport = 0xf800;
inline constexpr u16 kPmState = 3, kPmNoSoftReset = 1 << 3, kPmPmeEnable = 1 << 8, kPmPmeStatus = 1 << 15;
inline constexpr u16 kPmD0 = 0, kPmD3hot = 3;

// MSI (6.8.1).
inline constexpr u32 kMsiFlags = 2, kMsiAddressLow = 4, kMsiAddressHigh = 8, kMsiData64 = 12, kMsiSize64 = 14,
                     kMsiMask64 = 16, kMsiPending64 = 20, kMsiSizeMask64 = 24;
inline constexpr u16 kMsiEnable = 1 << 0, kMsiCapableMask = 7 << 1, kMsiEnabledMask = 7 << 4, kMsi64 = 1 << 7,
                     kMsiMaskable = 1 << 8;
// Without kMsi64 there is no high half of the address, and what is behind it moves up.
constexpr u32 msi_data(u32 flags) { return (flags & kMsi64) != 0 ? kMsiData64 : kMsiAddressHigh; }
constexpr u32 msi_mask(u32 flags) { return msi_data(flags) + 4; }
inline constexpr unsigned kMsiCapableShift = 1, kMsiEnabledShift = 4;

// MSI-X (6.8.2).
inline constexpr u32 kMsixControl = 2, kMsixTable = 4, kMsixPending = 8, kMsixSize = 12;
inline constexpr u32 kMsixEntrySize = 16;
inline constexpr u16 kMsixEnable = 1 << 15, kMsixFunctionMask = 1 << 14;

// PCI Express, version 2 (PCIe 7.5.3); an endpoint of version 1 ends behind its link (PCIe 1.1, 7.8).
inline constexpr u32 kPcieFlags = 2, kPcieDeviceCap = 4, kPcieDeviceControl = 8, kPcieDeviceStatus = 0x0a,
                     kPcieLinkCap = 0x0c, kPcieLinkControl = 0x10, kPcieLinkStatus = 0x12, kPcieSlotCap = 0x14,
                     kPcieDeviceCap2 = 0x24, kPcieDeviceControl2 = 0x28, kPcieLinkCap2 = 0x2c, kPcieLinkControl2 = 0x30,
                     kPcieSize = 0x3c, kPcieSize1 = 0x14;
inline constexpr u16 kPcieVersion = 0xf;
inline constexpr u32 kPcieRoleBasedErrors = 1 << 15, kPcieFlr = 1 << 28;
inline constexpr u16 kPcieControlPayload = 7 << 5, kPcieControlPhantom = 1 << 9, kPcieControlReadRequest = 7 << 12,
                     kPcieControlFlr = 1 << 15, kPcieControl2Ari = 1 << 5;
inline constexpr unsigned kPcieControlPayloadShift = 5, kPcieControlReadRequestShift = 12;

// Advanced features (PCI ECN "Advanced Capabilities for Conventional PCI").
inline constexpr u32 kAfLength = 2, kAfCap = 3, kAfControl = 4, kAfSize = 6;
inline constexpr u8 kAfTransactionsPending = 1, kAfFlr = 2, kAfControlFlr = 1;

// Extended capabilities (PCIe 7.6.3).
inline constexpr u16 kExtAer = 0x01, kExtVirtualChannel = 0x02, kExtSerialNumber = 0x03, kExtPowerBudget = 0x04,
                     kExtMultiFunctionVc = 0x08, kExtVirtualChannel9 = 0x09, kExtVendorSpecific = 0x0b, kExtAcs = 0x0d,
                     kExtAri = 0x0e, kExtAts = 0x0f, kExtSriov = 0x10, kExtMulticast = 0x12, kExtPri = 0x13,
                     kExtRebar = 0x15, kExtDpa = 0x16, kExtTph = 0x17, kExtLtr = 0x18, kExtDpc = 0x1d, kExtL1Pm = 0x1e,
                     kExtPtm = 0x1f, kExtDvsec = 0x23, kExtVfRebar = 0x24, kExtDataLink = 0x25, kExtPhysical16 = 0x26;
inline constexpr u32 kExtHeader = 4;
inline constexpr u32 kAerUncorrectable = 4, kAerUncorrectableMask = 8, kAerUncorrectableSeverity = 0x0c,
                     kAerCorrectable = 0x10, kAerCorrectableMask = 0x14, kAerControl = 0x18, kAerSize = 0x48;
inline constexpr u32 kPowerBudgetSelect = 4;
// PCIe 7.8.3, 7.9.3; ARI, ATS and PRI, SR-IOV, LTR: 7.8.7, 10.5, 9.3.3, 7.8.2.
inline constexpr u32 kSerialNumberSize = 12, kPowerBudgetSize = 16, kAriSize = 8, kAtsSize = 8, kPriSize = 16,
                     kSriovSize = 64, kLtrSize = 8;

}  // namespace iommufd::pci::reg

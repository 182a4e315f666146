// SPDX-License-Identifier: BSD-3-Clause
// Wire structs and command numbers of VFIO device files (include/uapi/linux/vfio.h of Linux 7.0; spec vfio-device).
//
// In every struct `argsz` is first: the size of the caller's buffer. `kMinSize` is what each command demands; larger
// buffers are accepted. Unlike iommufd's, tails are checked for BIND only.
#pragma once

#include "abi/layout.hpp"
#include "base/types.hpp"

namespace iommufd::abi {

enum class VfioCommand : u32 {
  kGetInfo = 0x3B6B,
  kGetRegionInfo = 0x3B6C,
  kGetIrqInfo = 0x3B6D,
  kSetIrqs = 0x3B6E,
  kReset = 0x3B6F,
  kGetPciHotResetInfo = 0x3B70,
  kPciHotReset = 0x3B71,
  kIoeventfd = 0x3B74,
  kFeature = 0x3B75,
  kBindIommufd = 0x3B76,
  kAttachIommufdPt = 0x3B77,
  kDetachIommufdPt = 0x3B78,
};

// struct vfio_device_bind_iommufd
struct VfioBindIommufd {
  u32 argsz;
  u32 flags;
  s32 iommufd;
  u32 out_devid;
  u64 token_uuid_ptr;
  static constexpr u32 kToken = 1;
  static constexpr std::size_t kMinSize = 16;
};
IOMMUFD_OFFSET(VfioBindIommufd, flags, 4);
IOMMUFD_OFFSET(VfioBindIommufd, iommufd, 8);
IOMMUFD_OFFSET(VfioBindIommufd, out_devid, 12);
IOMMUFD_OFFSET(VfioBindIommufd, token_uuid_ptr, 16);
IOMMUFD_WIRE_STRUCT(VfioBindIommufd, 24);

// struct vfio_device_attach_iommufd_pt
struct VfioAttachIommufdPt {
  u32 argsz;
  u32 flags;
  u32 pt_id;
  u32 pasid;
  static constexpr u32 kPasid = 1;
  static constexpr std::size_t kMinSize = 12;
};
IOMMUFD_OFFSET(VfioAttachIommufdPt, flags, 4);
IOMMUFD_OFFSET(VfioAttachIommufdPt, pt_id, 8);
IOMMUFD_OFFSET(VfioAttachIommufdPt, pasid, 12);
IOMMUFD_WIRE_STRUCT(VfioAttachIommufdPt, 16);

// struct vfio_device_detach_iommufd_pt
struct VfioDetachIommufdPt {
  u32 argsz;
  u32 flags;
  u32 pasid;
  static constexpr u32 kPasid = 1;
  static constexpr std::size_t kMinSize = 8;
};
IOMMUFD_OFFSET(VfioDetachIommufdPt, flags, 4);
IOMMUFD_OFFSET(VfioDetachIommufdPt, pasid, 8);
IOMMUFD_WIRE_STRUCT(VfioDetachIommufdPt, 12);

// struct vfio_info_cap_header: one link of a capability chain; offsets count from the start of the info struct.
struct VfioInfoCap {
  u16 id;
  u16 version;
  u32 next;  // 0 ends the chain
};
IOMMUFD_OFFSET(VfioInfoCap, version, 2);
IOMMUFD_OFFSET(VfioInfoCap, next, 4);
IOMMUFD_WIRE_STRUCT(VfioInfoCap, 8);

// struct vfio_device_info
struct VfioDeviceInfo {
  u32 argsz;
  u32 flags;
  u32 num_regions;
  u32 num_irqs;
  u32 cap_offset;
  u32 pad;
  static constexpr u32 kReset = 0x1, kPci = 0x2, kCaps = 0x80;
  static constexpr std::size_t kMinSize = 16;
};
IOMMUFD_OFFSET(VfioDeviceInfo, flags, 4);
IOMMUFD_OFFSET(VfioDeviceInfo, num_regions, 8);
IOMMUFD_OFFSET(VfioDeviceInfo, num_irqs, 12);
IOMMUFD_OFFSET(VfioDeviceInfo, cap_offset, 16);
IOMMUFD_OFFSET(VfioDeviceInfo, pad, 20);
IOMMUFD_WIRE_STRUCT(VfioDeviceInfo, 24);

// struct vfio_region_info
struct VfioRegionInfo {
  u32 argsz;
  u32 flags;
  u32 index;
  u32 cap_offset;
  u64 size;
  u64 offset;
  static constexpr u32 kRead = 1, kWrite = 2, kMmap = 4, kCaps = 8;
  static constexpr std::size_t kMinSize = 32;
};
IOMMUFD_OFFSET(VfioRegionInfo, flags, 4);
IOMMUFD_OFFSET(VfioRegionInfo, index, 8);
IOMMUFD_OFFSET(VfioRegionInfo, cap_offset, 12);
IOMMUFD_OFFSET(VfioRegionInfo, size, 16);
IOMMUFD_OFFSET(VfioRegionInfo, offset, 24);
IOMMUFD_WIRE_STRUCT(VfioRegionInfo, 32);

// struct vfio_region_sparse_mmap_area, and the fixed part of vfio_region_info_cap_sparse_mmap after its header.
struct VfioSparseMmap {
  static constexpr u16 kId = 1, kVersion = 1;
  u32 nr_areas;
  u32 reserved;
};
IOMMUFD_WIRE_STRUCT(VfioSparseMmap, 8);
struct VfioSparseMmapArea {
  u64 offset;
  u64 size;
};
IOMMUFD_WIRE_STRUCT(VfioSparseMmapArea, 16);
// A capability that is nothing but its header: the pages of the table of MSI-X can be mapped.
struct VfioMsixMappable {
  static constexpr u16 kId = 3, kVersion = 1;
};

// struct vfio_irq_info
struct VfioIrqInfo {
  u32 argsz;
  u32 flags;
  u32 index;
  u32 count;
  static constexpr u32 kEventfd = 1, kMaskable = 2, kAutomasked = 4, kNoResize = 8;
  static constexpr std::size_t kMinSize = 16;
};
IOMMUFD_OFFSET(VfioIrqInfo, flags, 4);
IOMMUFD_OFFSET(VfioIrqInfo, index, 8);
IOMMUFD_OFFSET(VfioIrqInfo, count, 12);
IOMMUFD_WIRE_STRUCT(VfioIrqInfo, 16);

// struct vfio_irq_set; the data follows.
struct VfioIrqSet {
  u32 argsz;
  u32 flags;
  u32 index;
  u32 start;
  u32 count;
  static constexpr u32 kDataNone = 1, kDataBool = 2, kDataEventfd = 4, kActionMask = 8, kActionUnmask = 0x10,
                       kActionTrigger = 0x20;
  static constexpr u32 kAllData = 0x07, kAllActions = 0x38;
  static constexpr std::size_t kMinSize = 20;
};
IOMMUFD_OFFSET(VfioIrqSet, flags, 4);
IOMMUFD_OFFSET(VfioIrqSet, index, 8);
IOMMUFD_OFFSET(VfioIrqSet, start, 12);
IOMMUFD_OFFSET(VfioIrqSet, count, 16);
IOMMUFD_WIRE_STRUCT(VfioIrqSet, 20);

// struct vfio_pci_hot_reset_info; the devices follow.
struct VfioPciHotResetInfo {
  u32 argsz;
  u32 flags;
  u32 count;
  static constexpr u32 kDevId = 1, kDevIdOwned = 2;
  static constexpr std::size_t kMinSize = 12;
};
IOMMUFD_OFFSET(VfioPciHotResetInfo, flags, 4);
IOMMUFD_OFFSET(VfioPciHotResetInfo, count, 8);
IOMMUFD_WIRE_STRUCT(VfioPciHotResetInfo, 12);

// struct vfio_pci_dependent_device
struct VfioPciDependentDevice {
  u32 devid;
  u16 segment;
  u8 bus;
  u8 devfn;
  static constexpr u32 kOwned = 0, kNotOwned = 0xffffffff;
};
IOMMUFD_OFFSET(VfioPciDependentDevice, segment, 4);
IOMMUFD_OFFSET(VfioPciDependentDevice, bus, 6);
IOMMUFD_OFFSET(VfioPciDependentDevice, devfn, 7);
IOMMUFD_WIRE_STRUCT(VfioPciDependentDevice, 8);

// struct vfio_pci_hot_reset; group descriptors follow.
struct VfioPciHotReset {
  u32 argsz;
  u32 flags;
  u32 count;
  static constexpr std::size_t kMinSize = 12;
};
IOMMUFD_OFFSET(VfioPciHotReset, flags, 4);
IOMMUFD_OFFSET(VfioPciHotReset, count, 8);
IOMMUFD_WIRE_STRUCT(VfioPciHotReset, 12);

// struct vfio_device_ioeventfd
struct VfioIoeventfd {
  u32 argsz;
  u32 flags;  // exactly one width in bytes
  u64 offset;
  u64 data;
  s32 fd;
  u32 reserved;
  static constexpr u32 kAllWidths = 0xf;
  static constexpr std::size_t kMinSize = 28;
};
IOMMUFD_OFFSET(VfioIoeventfd, flags, 4);
IOMMUFD_OFFSET(VfioIoeventfd, offset, 8);
IOMMUFD_OFFSET(VfioIoeventfd, data, 16);
IOMMUFD_OFFSET(VfioIoeventfd, fd, 24);
IOMMUFD_OFFSET(VfioIoeventfd, reserved, 28);
IOMMUFD_WIRE_STRUCT(VfioIoeventfd, 32);

// struct vfio_device_feature; the data follows.
struct VfioFeature {
  u32 argsz;
  u32 flags;
  static constexpr u32 kIndexMask = 0xffff, kGet = 1 << 16, kSet = 1 << 17, kProbe = 1 << 18;
  static constexpr std::size_t kMinSize = 8;
};
IOMMUFD_OFFSET(VfioFeature, flags, 4);
IOMMUFD_WIRE_STRUCT(VfioFeature, 8);

enum class VfioFeatureIndex : u16 {
  kLowPowerEntry = 3,
  kLowPowerEntryWithWakeup = 4,
  kLowPowerExit = 5,
  kDmaBuf = 11,
  kMigPrecopyInfoV2 = 12,
};

// struct vfio_device_feature_dma_buf; nr_ranges of VfioDmaRange follow.
struct VfioDmaBuf {
  u32 region_index;
  u32 open_flags;
  u32 flags;
  u32 nr_ranges;
};
IOMMUFD_OFFSET(VfioDmaBuf, open_flags, 4);
IOMMUFD_OFFSET(VfioDmaBuf, flags, 8);
IOMMUFD_OFFSET(VfioDmaBuf, nr_ranges, 12);
IOMMUFD_WIRE_STRUCT(VfioDmaBuf, 16);

// struct vfio_region_dma_range
struct VfioDmaRange {
  u64 offset;
  u64 length;
};
IOMMUFD_OFFSET(VfioDmaRange, length, 8);
IOMMUFD_WIRE_STRUCT(VfioDmaRange, 16);

// struct vfio_device_low_power_entry_with_wakeup
struct VfioLowPowerWakeup {
  s32 wakeup_eventfd;
  u32 reserved;
};
IOMMUFD_OFFSET(VfioLowPowerWakeup, reserved, 4);
IOMMUFD_WIRE_STRUCT(VfioLowPowerWakeup, 8);

}  // namespace iommufd::abi

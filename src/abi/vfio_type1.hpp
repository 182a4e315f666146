// SPDX-License-Identifier: BSD-3-Clause
// Wire structs and command numbers of VFIO groups and of containers with a type1 IOMMU (include/uapi/linux/vfio.h of Linux
// 7.0): native ones (spec vfio-device 18) and opens of /dev/iommu (spec iommufd-core 6). Some numbers are those of device
// commands (vfio.hpp): what they mean depends on the file.
//
// `argsz` is first, the size of the caller's buffer; bytes behind the struct are ignored.
#pragma once

#include "abi/layout.hpp"
#include "abi/vfio.hpp"
#include "base/types.hpp"

namespace iommufd::abi {

enum class VfioContainerCommand : u32 {
  kGetApiVersion = 0x3B64,
  kCheckExtension = 0x3B65,
  kSetIommu = 0x3B66,
  kIommuGetInfo = 0x3B70,
  kIommuMapDma = 0x3B71,
  kIommuUnmapDma = 0x3B72,
  kIommuDirtyPages = 0x3B75,  // native containers only
};

enum class VfioGroupCommand : u32 {
  kGetStatus = 0x3B67,
  kSetContainer = 0x3B68,
  kUnsetContainer = 0x3B69,
  kGetDeviceFd = 0x3B6A,
};

// struct vfio_group_status
struct VfioGroupStatus {
  u32 argsz;
  u32 flags;
  static constexpr u32 kViable = 1, kContainerSet = 2;
  static constexpr std::size_t kMinSize = 8;
};
IOMMUFD_OFFSET(VfioGroupStatus, flags, 4);
IOMMUFD_WIRE_STRUCT(VfioGroupStatus, 8);

inline constexpr u32 kVfioApiVersion = 0;

// Arguments of CHECK_EXTENSION; the types of IOMMU are those of SET_IOMMU too.
enum class VfioExtension : u64 {
  kType1Iommu = 1,
  kType1v2Iommu = 3,
  kDmaCcIommu = 4,
  kNoiommuIommu = 8,
  kUnmapAll = 9,
  kUpdateVaddr = 10,  // native containers only
};

// struct vfio_iommu_type1_info; capabilities follow.
struct VfioType1Info {
  u32 argsz;
  u32 flags;
  u64 iova_pgsizes;
  u32 cap_offset;
  u32 pad;
  static constexpr u32 kPgsizes = 1, kCaps = 2;
  static constexpr std::size_t kMinSize = 16;
};
IOMMUFD_OFFSET(VfioType1Info, flags, 4);
IOMMUFD_OFFSET(VfioType1Info, iova_pgsizes, 8);
IOMMUFD_OFFSET(VfioType1Info, cap_offset, 16);
IOMMUFD_OFFSET(VfioType1Info, pad, 20);
IOMMUFD_WIRE_STRUCT(VfioType1Info, 24);

// struct vfio_iommu_type1_info_dma_avail
struct VfioType1DmaAvail {
  VfioInfoCap header;
  u32 avail;
  static constexpr u16 kId = 3, kVersion = 1;
};
IOMMUFD_OFFSET(VfioType1DmaAvail, avail, 8);
IOMMUFD_WIRE_STRUCT(VfioType1DmaAvail, 12);

// struct vfio_iommu_type1_info_cap_iova_range; the ranges follow.
struct VfioType1IovaRanges {
  VfioInfoCap header;
  u32 nr_iovas;
  u32 reserved;
  static constexpr u16 kId = 1, kVersion = 1;
};
IOMMUFD_OFFSET(VfioType1IovaRanges, nr_iovas, 8);
IOMMUFD_OFFSET(VfioType1IovaRanges, reserved, 12);
IOMMUFD_WIRE_STRUCT(VfioType1IovaRanges, 16);

// struct vfio_iova_range; `end` is inclusive.
struct VfioIovaRange {
  u64 start;
  u64 end;
};
IOMMUFD_OFFSET(VfioIovaRange, end, 8);
IOMMUFD_WIRE_STRUCT(VfioIovaRange, 16);

// struct vfio_iommu_type1_dma_map
struct VfioType1DmaMap {
  u32 argsz;
  u32 flags;
  u64 vaddr;
  u64 iova;
  u64 size;
  static constexpr u32 kRead = 1, kWrite = 2, kAllFlags = 3;
  static constexpr u32 kVaddr = 4, kAllNativeFlags = 7;  // native containers only
  static constexpr std::size_t kMinSize = 32;
};
IOMMUFD_OFFSET(VfioType1DmaMap, flags, 4);
IOMMUFD_OFFSET(VfioType1DmaMap, vaddr, 8);
IOMMUFD_OFFSET(VfioType1DmaMap, iova, 16);
IOMMUFD_OFFSET(VfioType1DmaMap, size, 24);
IOMMUFD_WIRE_STRUCT(VfioType1DmaMap, 32);

// struct vfio_iommu_type1_dma_unmap
struct VfioType1DmaUnmap {
  u32 argsz;
  u32 flags;
  u64 iova;
  u64 size;  // out: bytes unmapped
  static constexpr u32 kAll = 2, kAllFlags = 2;
  // Native containers only; with kDirtyBitmap a VfioBitmap follows.
  static constexpr u32 kDirtyBitmap = 1, kVaddr = 4, kAllNativeFlags = 7;
  static constexpr std::size_t kMinSize = 24;
};
IOMMUFD_OFFSET(VfioType1DmaUnmap, flags, 4);
IOMMUFD_OFFSET(VfioType1DmaUnmap, iova, 8);
IOMMUFD_OFFSET(VfioType1DmaUnmap, size, 16);
IOMMUFD_WIRE_STRUCT(VfioType1DmaUnmap, 24);

// struct vfio_bitmap
struct VfioBitmap {
  u64 pgsize;
  u64 size;  // bytes of the bitmap
  u64 data;
};
IOMMUFD_OFFSET(VfioBitmap, size, 8);
IOMMUFD_OFFSET(VfioBitmap, data, 16);
IOMMUFD_WIRE_STRUCT(VfioBitmap, 24);

// struct vfio_iommu_type1_dirty_bitmap; with kGetBitmap a VfioDirtyBitmapGet follows.
struct VfioDirtyPages {
  u32 argsz;
  u32 flags;
  static constexpr u32 kStart = 1, kStop = 2, kGetBitmap = 4, kAllFlags = 7;
  static constexpr std::size_t kMinSize = 8;
};
IOMMUFD_OFFSET(VfioDirtyPages, flags, 4);
IOMMUFD_WIRE_STRUCT(VfioDirtyPages, 8);

// struct vfio_iommu_type1_dirty_bitmap_get
struct VfioDirtyBitmapGet {
  u64 iova;
  u64 size;
  VfioBitmap bitmap;
};
IOMMUFD_OFFSET(VfioDirtyBitmapGet, size, 8);
IOMMUFD_OFFSET(VfioDirtyBitmapGet, bitmap, 16);
IOMMUFD_WIRE_STRUCT(VfioDirtyBitmapGet, 40);

// struct vfio_iommu_type1_info_cap_migration
struct VfioType1Migration {
  VfioInfoCap header;
  u32 flags;
  u32 pad;
  u64 pgsize_bitmap;
  u64 max_dirty_bitmap_size;  // bytes
  static constexpr u16 kId = 2, kVersion = 1;
};
IOMMUFD_OFFSET(VfioType1Migration, flags, 8);
IOMMUFD_OFFSET(VfioType1Migration, pgsize_bitmap, 16);
IOMMUFD_OFFSET(VfioType1Migration, max_dirty_bitmap_size, 24);
IOMMUFD_WIRE_STRUCT(VfioType1Migration, 32);

}  // namespace iommufd::abi

// SPDX-License-Identifier: BSD-3-Clause
// Arguments of the commands on I/O address spaces (spec iommufd-core 2.1 and 3; noiommu 12).
#pragma once

#include "abi/layout.hpp"
#include "base/types.hpp"

namespace iommufd::abi {

// struct iommu_ioas_alloc
struct IoasAlloc {
  u32 size;
  u32 flags;  // must be 0
  u32 out_ioas_id;
  static constexpr std::size_t kMinSize = 12;
};
IOMMUFD_OFFSET(IoasAlloc, flags, 4);
IOMMUFD_OFFSET(IoasAlloc, out_ioas_id, 8);
IOMMUFD_WIRE_STRUCT(IoasAlloc, 12);

// struct iommu_iova_range, element of the arrays of IoasIovaRanges and IoasAllowIovas. `last` is inclusive.
struct IovaRange {
  u64 start;
  u64 last;
};
IOMMUFD_OFFSET(IovaRange, last, 8);
IOMMUFD_WIRE_STRUCT(IovaRange, 16);

// struct iommu_ioas_iova_ranges
struct IoasIovaRanges {
  u32 size;
  u32 ioas_id;
  u32 num_iovas;  // in: capacity of the array; out: number of ranges, also with EMSGSIZE
  u32 reserved;
  u64 allowed_iovas;  // pointer to IovaRange[num_iovas]
  u64 out_iova_alignment;
  static constexpr std::size_t kMinSize = 32;
};
IOMMUFD_OFFSET(IoasIovaRanges, ioas_id, 4);
IOMMUFD_OFFSET(IoasIovaRanges, num_iovas, 8);
IOMMUFD_OFFSET(IoasIovaRanges, reserved, 12);
IOMMUFD_OFFSET(IoasIovaRanges, allowed_iovas, 16);
IOMMUFD_OFFSET(IoasIovaRanges, out_iova_alignment, 24);
IOMMUFD_WIRE_STRUCT(IoasIovaRanges, 32);

// struct iommu_ioas_allow_iovas
struct IoasAllowIovas {
  u32 size;
  u32 ioas_id;
  u32 num_iovas;
  u32 reserved;
  u64 allowed_iovas;  // pointer to IovaRange[num_iovas]
  static constexpr std::size_t kMinSize = 24;
};
IOMMUFD_OFFSET(IoasAllowIovas, ioas_id, 4);
IOMMUFD_OFFSET(IoasAllowIovas, num_iovas, 8);
IOMMUFD_OFFSET(IoasAllowIovas, reserved, 12);
IOMMUFD_OFFSET(IoasAllowIovas, allowed_iovas, 16);
IOMMUFD_WIRE_STRUCT(IoasAllowIovas, 24);

// struct iommu_ioas_map
struct IoasMap {
  u32 size;
  u32 flags;
  u32 ioas_id;
  u32 reserved;
  u64 user_va;
  u64 length;
  u64 iova;  // in with kFixedIova, otherwise out
  static constexpr u32 kFixedIova = 1, kWriteable = 2, kReadable = 4, kAllFlags = 7;
  static constexpr std::size_t kMinSize = 40;
};
IOMMUFD_OFFSET(IoasMap, flags, 4);
IOMMUFD_OFFSET(IoasMap, ioas_id, 8);
IOMMUFD_OFFSET(IoasMap, reserved, 12);
IOMMUFD_OFFSET(IoasMap, user_va, 16);
IOMMUFD_OFFSET(IoasMap, length, 24);
IOMMUFD_OFFSET(IoasMap, iova, 32);
IOMMUFD_WIRE_STRUCT(IoasMap, 40);

// struct iommu_ioas_map_file
struct IoasMapFile {
  u32 size;
  u32 flags;
  u32 ioas_id;
  s32 fd;
  u64 start;  // byte offset in the file
  u64 length;
  u64 iova;  // in with kFixedIova, otherwise out
  static constexpr u32 kFixedIova = 1, kWriteable = 2, kReadable = 4, kAllFlags = 7;
  static constexpr std::size_t kMinSize = 40;
};
IOMMUFD_OFFSET(IoasMapFile, flags, 4);
IOMMUFD_OFFSET(IoasMapFile, ioas_id, 8);
IOMMUFD_OFFSET(IoasMapFile, fd, 12);
IOMMUFD_OFFSET(IoasMapFile, start, 16);
IOMMUFD_OFFSET(IoasMapFile, length, 24);
IOMMUFD_OFFSET(IoasMapFile, iova, 32);
IOMMUFD_WIRE_STRUCT(IoasMapFile, 40);

// struct iommu_ioas_copy
struct IoasCopy {
  u32 size;
  u32 flags;
  u32 dst_ioas_id;
  u32 src_ioas_id;
  u64 length;
  u64 dst_iova;  // in with kFixedIova, otherwise out
  u64 src_iova;
  static constexpr u32 kFixedIova = 1, kWriteable = 2, kReadable = 4, kAllFlags = 7;
  static constexpr std::size_t kMinSize = 40;
};
IOMMUFD_OFFSET(IoasCopy, flags, 4);
IOMMUFD_OFFSET(IoasCopy, dst_ioas_id, 8);
IOMMUFD_OFFSET(IoasCopy, src_ioas_id, 12);
IOMMUFD_OFFSET(IoasCopy, length, 16);
IOMMUFD_OFFSET(IoasCopy, dst_iova, 24);
IOMMUFD_OFFSET(IoasCopy, src_iova, 32);
IOMMUFD_WIRE_STRUCT(IoasCopy, 40);

// struct iommu_ioas_unmap
struct IoasUnmap {
  u32 size;
  u32 ioas_id;
  u64 iova;
  u64 length;  // out: bytes unmapped
  static constexpr std::size_t kMinSize = 24;
};
IOMMUFD_OFFSET(IoasUnmap, ioas_id, 4);
IOMMUFD_OFFSET(IoasUnmap, iova, 8);
IOMMUFD_OFFSET(IoasUnmap, length, 16);
IOMMUFD_WIRE_STRUCT(IoasUnmap, 24);

// struct iommu_ioas_change_process
struct IoasChangeProcess {
  u32 size;
  u32 reserved;
  static constexpr std::size_t kMinSize = 8;
};
IOMMUFD_OFFSET(IoasChangeProcess, reserved, 4);
IOMMUFD_WIRE_STRUCT(IoasChangeProcess, 8);

// struct iommu_ioas_noiommu_get_pa
struct IoasNoiommuGetPa {
  u32 size;
  u32 flags;  // must be 0
  u32 ioas_id;
  u32 reserved;
  u64 iova;
  u64 length;  // in: most bytes wanted, not 0; out: contiguous bytes from out_phys
  u64 out_phys;
  static constexpr std::size_t kMinSize = 40;
};
IOMMUFD_OFFSET(IoasNoiommuGetPa, flags, 4);
IOMMUFD_OFFSET(IoasNoiommuGetPa, ioas_id, 8);
IOMMUFD_OFFSET(IoasNoiommuGetPa, reserved, 12);
IOMMUFD_OFFSET(IoasNoiommuGetPa, iova, 16);
IOMMUFD_OFFSET(IoasNoiommuGetPa, length, 24);
IOMMUFD_OFFSET(IoasNoiommuGetPa, out_phys, 32);
IOMMUFD_WIRE_STRUCT(IoasNoiommuGetPa, 40);

}  // namespace iommufd::abi

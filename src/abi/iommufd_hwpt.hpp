// SPDX-License-Identifier: BSD-3-Clause
// Arguments of the commands on hardware page tables and device information (spec iommufd-core 2.1, 2.2 and
// A).
#pragma once

#include "abi/layout.hpp"
#include "base/types.hpp"

namespace iommufd::abi {

// enum iommu_hwpt_data_type
enum class HwptDataType : u32 { kNone = 0, kVtdS1 = 1, kArmSmmuV3 = 2, kAmdGuest = 3 };

// struct iommu_hwpt_alloc. `flags` is checked late, by the IOMMU that allocates (spec A.1).
struct HwptAlloc {
  u32 size;
  u32 flags;
  u32 dev_id;
  u32 pt_id;
  u32 out_hwpt_id;
  u32 reserved;
  u32 data_type;  // HwptDataType
  u32 data_len;
  u64 data_uptr;
  u32 fault_id;
  u32 reserved2;  // never checked (quirk Q12)
  static constexpr u32 kNestParent = 1, kDirtyTracking = 2, kFaultIdValid = 4, kPasid = 8, kAllFlags = 15;
  static constexpr std::size_t kMinSize = 24;
};
IOMMUFD_OFFSET(HwptAlloc, flags, 4);
IOMMUFD_OFFSET(HwptAlloc, dev_id, 8);
IOMMUFD_OFFSET(HwptAlloc, pt_id, 12);
IOMMUFD_OFFSET(HwptAlloc, out_hwpt_id, 16);
IOMMUFD_OFFSET(HwptAlloc, reserved, 20);
IOMMUFD_OFFSET(HwptAlloc, data_type, 24);
IOMMUFD_OFFSET(HwptAlloc, data_len, 28);
IOMMUFD_OFFSET(HwptAlloc, data_uptr, 32);
IOMMUFD_OFFSET(HwptAlloc, fault_id, 40);
IOMMUFD_OFFSET(HwptAlloc, reserved2, 44);
IOMMUFD_WIRE_STRUCT(HwptAlloc, 48);

// enum iommu_hw_info_type. 0 asks for the IOMMU's own type on input and says "none" on output.
enum class HwInfoType : u32 { kNone = 0, kDefault = 0, kIntelVtd = 1, kArmSmmuV3 = 2, kTegra241Cmdqv = 3, kAmd = 4 };

// struct iommu_hw_info
struct HwInfo {
  u32 size;
  u32 flags;
  u32 dev_id;
  u32 data_len;  // in: length of the buffer; out: length of what the IOMMU can say
  u64 data_uptr;
  u32 data_type;  // HwInfoType: in_data_type with kInputType, out_data_type on return (one field, a union in
                  // C)
  u8 out_max_pasid_log2;
  u8 reserved[3];
  u64 out_capabilities;  // kCap*
  static constexpr u32 kInputType = 1, kAllFlags = 1;
  static constexpr u64 kCapDirtyTracking = 1, kCapPasidExec = 2, kCapPasidPriv = 4, kCapAtsNotSupported = 8;
  static constexpr std::size_t kMinSize = 32;
};
IOMMUFD_OFFSET(HwInfo, flags, 4);
IOMMUFD_OFFSET(HwInfo, dev_id, 8);
IOMMUFD_OFFSET(HwInfo, data_len, 12);
IOMMUFD_OFFSET(HwInfo, data_uptr, 16);
IOMMUFD_OFFSET(HwInfo, data_type, 24);
IOMMUFD_OFFSET(HwInfo, out_max_pasid_log2, 28);
IOMMUFD_OFFSET(HwInfo, reserved, 29);
IOMMUFD_OFFSET(HwInfo, out_capabilities, 32);
IOMMUFD_WIRE_STRUCT(HwInfo, 40);

// struct iommu_hw_info_vtd
struct HwInfoVtd {
  u32 flags;
  u32 reserved;
  u64 cap_reg;
  u64 ecap_reg;
  static constexpr u32 kErrata772415Spr17 = 1;
};
IOMMUFD_OFFSET(HwInfoVtd, reserved, 4);
IOMMUFD_OFFSET(HwInfoVtd, cap_reg, 8);
IOMMUFD_OFFSET(HwInfoVtd, ecap_reg, 16);
IOMMUFD_WIRE_STRUCT(HwInfoVtd, 24);

// struct iommu_hw_info_amd
struct HwInfoAmd {
  u64 efr;
  u64 efr2;
};
IOMMUFD_OFFSET(HwInfoAmd, efr2, 8);
IOMMUFD_WIRE_STRUCT(HwInfoAmd, 16);

// struct iommu_hwpt_set_dirty_tracking
struct HwptSetDirtyTracking {
  u32 size;
  u32 flags;
  u32 hwpt_id;
  u32 reserved;  // never checked (quirk Q12)
  static constexpr u32 kEnable = 1, kAllFlags = 1;
  static constexpr std::size_t kMinSize = 16;
};
IOMMUFD_OFFSET(HwptSetDirtyTracking, flags, 4);
IOMMUFD_OFFSET(HwptSetDirtyTracking, hwpt_id, 8);
IOMMUFD_OFFSET(HwptSetDirtyTracking, reserved, 12);
IOMMUFD_WIRE_STRUCT(HwptSetDirtyTracking, 16);

// struct iommu_hwpt_get_dirty_bitmap
struct HwptGetDirtyBitmap {
  u32 size;
  u32 hwpt_id;
  u32 flags;
  u32 reserved;
  u64 iova;
  u64 length;
  u64 page_size;  // bytes that one bit stands for
  u64 data;       // pointer to the bitmap
  static constexpr u32 kNoClear = 1, kAllFlags = 1;
  static constexpr std::size_t kMinSize = 48;
};
IOMMUFD_OFFSET(HwptGetDirtyBitmap, hwpt_id, 4);
IOMMUFD_OFFSET(HwptGetDirtyBitmap, flags, 8);
IOMMUFD_OFFSET(HwptGetDirtyBitmap, reserved, 12);
IOMMUFD_OFFSET(HwptGetDirtyBitmap, iova, 16);
IOMMUFD_OFFSET(HwptGetDirtyBitmap, length, 24);
IOMMUFD_OFFSET(HwptGetDirtyBitmap, page_size, 32);
IOMMUFD_OFFSET(HwptGetDirtyBitmap, data, 40);
IOMMUFD_WIRE_STRUCT(HwptGetDirtyBitmap, 48);

// struct iommu_hwpt_invalidate. Written back on success and on every error after dispatch (spec 1.2).
struct HwptInvalidate {
  u32 size;
  u32 hwpt_id;  // a nested HWPT or a vIOMMU
  u64 data_uptr;
  u32 data_type;
  u32 entry_len;
  u32 entry_num;  // in: entries of the array; out: entries handled
  u32 reserved;
  static constexpr std::size_t kMinSize = 32;
};
IOMMUFD_OFFSET(HwptInvalidate, hwpt_id, 4);
IOMMUFD_OFFSET(HwptInvalidate, data_uptr, 8);
IOMMUFD_OFFSET(HwptInvalidate, data_type, 16);
IOMMUFD_OFFSET(HwptInvalidate, entry_len, 20);
IOMMUFD_OFFSET(HwptInvalidate, entry_num, 24);
IOMMUFD_OFFSET(HwptInvalidate, reserved, 28);
IOMMUFD_WIRE_STRUCT(HwptInvalidate, 32);

}  // namespace iommufd::abi

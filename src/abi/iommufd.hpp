// SPDX-License-Identifier: BSD-3-Clause
// Wire structs and command numbers of /dev/iommu (include/uapi/linux/iommufd.h of Linux 7.0, and the noiommu
// command of 7.3). A client fills the bytes, so nothing here is trusted: `size` follows the extensible-struct
// rule (spec iommufd-core 1.4) and each handler checks flags and reserved fields in the order of its section.
//
// In every struct: `size` is first; `out_*` fields are written by us only; `kMinSize` is the end of the last
// field of the first version, so a shorter `size` is EINVAL; fields past a client's `size` read as zero.
#pragma once

#include "abi/iommufd_hwpt.hpp"
#include "abi/iommufd_ioas.hpp"
#include "abi/iommufd_viommu.hpp"
#include "base/types.hpp"

namespace iommufd::abi {

inline constexpr u32 kIommufdType = 0x3B;         // ';', the type byte of iommufd's and VFIO's ioctls
inline constexpr u32 kIommufdCommandBase = 0x80;  // lower numbers of the type are VFIO's

// _IO(';', nr): no direction and no size bits, so the word is type and number.
enum class IommuCommand : u32 {
  kDestroy = 0x3B80,
  kIoasAlloc = 0x3B81,
  kIoasAllowIovas = 0x3B82,
  kIoasCopy = 0x3B83,
  kIoasIovaRanges = 0x3B84,
  kIoasMap = 0x3B85,
  kIoasUnmap = 0x3B86,
  kOption = 0x3B87,
  kVfioIoas = 0x3B88,
  kHwptAlloc = 0x3B89,
  kGetHwInfo = 0x3B8A,
  kHwptSetDirtyTracking = 0x3B8B,
  kHwptGetDirtyBitmap = 0x3B8C,
  kHwptInvalidate = 0x3B8D,
  kFaultQueueAlloc = 0x3B8E,
  kIoasMapFile = 0x3B8F,
  kViommuAlloc = 0x3B90,
  kVdeviceAlloc = 0x3B91,
  kIoasChangeProcess = 0x3B92,
  kVeventqAlloc = 0x3B93,
  kHwQueueAlloc = 0x3B94,
  kIoasNoiommuGetPa = 0x3B95,
};
inline constexpr IommuCommand kFirstIommuCommand = IommuCommand::kDestroy;
inline constexpr IommuCommand kLastIommuCommand = IommuCommand::kIoasNoiommuGetPa;

// struct iommu_destroy
struct Destroy {
  u32 size;
  u32 id;
  static constexpr std::size_t kMinSize = 8;
};
IOMMUFD_OFFSET(Destroy, id, 4);
IOMMUFD_WIRE_STRUCT(Destroy, 8);

// struct iommu_option. Only the bytes of val64 are written back (spec 1.2).
struct Option {
  u32 size;
  u32 option_id;
  u16 op;
  u16 reserved;
  u32 object_id;
  u64 val64;  // in for kOpSet, out for kOpGet
  static constexpr u32 kRlimitMode = 0, kHugePages = 1;
  static constexpr u16 kOpSet = 0, kOpGet = 1;
  static constexpr std::size_t kMinSize = 24;
};
IOMMUFD_OFFSET(Option, option_id, 4);
IOMMUFD_OFFSET(Option, op, 8);
IOMMUFD_OFFSET(Option, reserved, 10);
IOMMUFD_OFFSET(Option, object_id, 12);
IOMMUFD_OFFSET(Option, val64, 16);
IOMMUFD_WIRE_STRUCT(Option, 24);

// struct iommu_vfio_ioas
struct VfioIoas {
  u32 size;
  u32 ioas_id;  // in for kSet, out for kGet
  u16 op;
  u16 reserved;
  static constexpr u16 kGet = 0, kSet = 1, kClear = 2;
  static constexpr std::size_t kMinSize = 12;
};
IOMMUFD_OFFSET(VfioIoas, ioas_id, 4);
IOMMUFD_OFFSET(VfioIoas, op, 8);
IOMMUFD_OFFSET(VfioIoas, reserved, 10);
IOMMUFD_WIRE_STRUCT(VfioIoas, 12);

}  // namespace iommufd::abi

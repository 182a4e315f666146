// SPDX-License-Identifier: BSD-3-Clause
// Arguments of the commands on fault queues and virtual IOMMUs (spec iommufd-core 2.1 and A.6 to A.10).
#pragma once

#include "abi/layout.hpp"
#include "base/types.hpp"

namespace iommufd::abi {

// struct iommu_fault_alloc
struct FaultAlloc {
  u32 size;
  u32 flags;  // must be 0
  u32 out_fault_id;
  u32 out_fault_fd;
  static constexpr std::size_t kMinSize = 16;
};
IOMMUFD_OFFSET(FaultAlloc, flags, 4);
IOMMUFD_OFFSET(FaultAlloc, out_fault_id, 8);
IOMMUFD_OFFSET(FaultAlloc, out_fault_fd, 12);
IOMMUFD_WIRE_STRUCT(FaultAlloc, 16);

// enum iommu_viommu_type
enum class ViommuType : u32 { kDefault = 0, kArmSmmuV3 = 1, kTegra241Cmdqv = 2 };

// struct iommu_viommu_alloc
struct ViommuAlloc {
  u32 size;
  u32 flags;  // must be 0
  u32 type;   // ViommuType
  u32 dev_id;
  u32 hwpt_id;
  u32 out_viommu_id;
  u32 data_len;
  u32 reserved;  // never checked (quirk Q12)
  u64 data_uptr;
  static constexpr std::size_t kMinSize = 24;
};
IOMMUFD_OFFSET(ViommuAlloc, flags, 4);
IOMMUFD_OFFSET(ViommuAlloc, type, 8);
IOMMUFD_OFFSET(ViommuAlloc, dev_id, 12);
IOMMUFD_OFFSET(ViommuAlloc, hwpt_id, 16);
IOMMUFD_OFFSET(ViommuAlloc, out_viommu_id, 20);
IOMMUFD_OFFSET(ViommuAlloc, data_len, 24);
IOMMUFD_OFFSET(ViommuAlloc, reserved, 28);
IOMMUFD_OFFSET(ViommuAlloc, data_uptr, 32);
IOMMUFD_WIRE_STRUCT(ViommuAlloc, 40);

// struct iommu_vdevice_alloc
struct VdeviceAlloc {
  u32 size;
  u32 viommu_id;
  u32 dev_id;
  u32 out_vdevice_id;
  u64 virt_id;
  static constexpr std::size_t kMinSize = 24;
};
IOMMUFD_OFFSET(VdeviceAlloc, viommu_id, 4);
IOMMUFD_OFFSET(VdeviceAlloc, dev_id, 8);
IOMMUFD_OFFSET(VdeviceAlloc, out_vdevice_id, 12);
IOMMUFD_OFFSET(VdeviceAlloc, virt_id, 16);
IOMMUFD_WIRE_STRUCT(VdeviceAlloc, 24);

// struct iommu_veventq_alloc
struct VeventqAlloc {
  u32 size;
  u32 flags;  // must be 0
  u32 viommu_id;
  u32 type;
  u32 veventq_depth;
  u32 out_veventq_id;
  u32 out_veventq_fd;
  u32 reserved;
  static constexpr std::size_t kMinSize = 28;
};
IOMMUFD_OFFSET(VeventqAlloc, flags, 4);
IOMMUFD_OFFSET(VeventqAlloc, viommu_id, 8);
IOMMUFD_OFFSET(VeventqAlloc, type, 12);
IOMMUFD_OFFSET(VeventqAlloc, veventq_depth, 16);
IOMMUFD_OFFSET(VeventqAlloc, out_veventq_id, 20);
IOMMUFD_OFFSET(VeventqAlloc, out_veventq_fd, 24);
IOMMUFD_OFFSET(VeventqAlloc, reserved, 28);
IOMMUFD_WIRE_STRUCT(VeventqAlloc, 32);

// struct iommu_hw_queue_alloc
struct HwQueueAlloc {
  u32 size;
  u32 flags;  // must be 0
  u32 viommu_id;
  u32 type;
  u32 index;
  u32 out_hw_queue_id;
  u64 nesting_parent_iova;
  u64 length;
  static constexpr std::size_t kMinSize = 40;
};
IOMMUFD_OFFSET(HwQueueAlloc, flags, 4);
IOMMUFD_OFFSET(HwQueueAlloc, viommu_id, 8);
IOMMUFD_OFFSET(HwQueueAlloc, type, 12);
IOMMUFD_OFFSET(HwQueueAlloc, index, 16);
IOMMUFD_OFFSET(HwQueueAlloc, out_hw_queue_id, 20);
IOMMUFD_OFFSET(HwQueueAlloc, nesting_parent_iova, 24);
IOMMUFD_OFFSET(HwQueueAlloc, length, 32);
IOMMUFD_WIRE_STRUCT(HwQueueAlloc, 40);

}  // namespace iommufd::abi

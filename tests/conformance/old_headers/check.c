/* SPDX-License-Identifier: BSD-3-Clause */
/* Compiles with our headers in front of old ones: structs are complete, late names are there, the system's stay. */
#include <linux/iommufd.h>
#include <linux/vfio.h>

_Static_assert(sizeof(struct iommu_hwpt_alloc) == 48, "grown struct");
_Static_assert(sizeof(struct iommu_hwpt_alloc_old) == 24, "the system's, renamed");
_Static_assert(sizeof(struct iommu_hw_info) == 40, "grown struct");
_Static_assert(sizeof(struct vfio_device_bind_iommufd) == 24, "grown struct");
_Static_assert(sizeof(struct vfio_device_attach_iommufd_pt) == 16, "grown struct");
_Static_assert(IOMMU_DESTROY == 0x3b80 && IOMMUFD_CMD_GET_HW_INFO == 0x8a, "the system's commands");
_Static_assert(IOMMU_IOAS_NOIOMMU_GET_PA == 0x3b95 && VFIO_DEVICE_BIND_IOMMUFD == 0x3b76, "added commands");
_Static_assert(IOMMU_HWPT_ALLOC_PASID == 8 && IOMMU_HW_INFO_TYPE_AMD == 4, "late enumerators");
_Static_assert(IOMMU_HWPT_ALLOC_NEST_PARENT == 1 && IOMMU_HW_INFO_TYPE_INTEL_VTD == 1, "early enumerators");

enum iommu_hw_info_type old_headers_type = IOMMU_HW_INFO_TYPE_INTEL_VTD;

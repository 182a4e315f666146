/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * <linux/vfio.h> for machines whose kernel headers are too old: adds, with Linux's own names, what came after
 * Linux 6.1 and what programs for /dev/iommu need. The base of VFIO is the system's own <linux/vfio.h>, which
 * every machine with a C library has. Use and rules are those of linux/iommufd.h beside this file: symbols
 * that the system has are the system's; structs that grew since are renamed to *_old in a system header older
 * than Linux 7.0.
 */
#ifndef IOMMUFD_USER_UAPI_LINUX_VFIO_H
#define IOMMUFD_USER_UAPI_LINUX_VFIO_H

#pragma GCC system_header

#include <linux/ioctl.h>
#include <linux/types.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
#include_next <linux/vfio.h>
#else
#define IOMMUFD_USER_OLD_VFIO_HEADER 1
#define vfio_pci_dependent_device vfio_pci_dependent_device_old
#define vfio_pci_hot_reset_info vfio_pci_hot_reset_info_old
#define vfio_device_bind_iommufd vfio_device_bind_iommufd_old
#define vfio_device_attach_iommufd_pt vfio_device_attach_iommufd_pt_old
#define vfio_device_detach_iommufd_pt vfio_device_detach_iommufd_pt_old
#include_next <linux/vfio.h>
#undef vfio_pci_dependent_device
#undef vfio_pci_hot_reset_info
#undef vfio_device_bind_iommufd
#undef vfio_device_attach_iommufd_pt
#undef vfio_device_detach_iommufd_pt
#endif

/* ---- GET_INFO ---------------------------------------------------------------------------------------- */

#ifndef VFIO_DEVICE_FLAGS_CDX
#define VFIO_DEVICE_FLAGS_CDX (1 << 8)
#endif

#ifndef VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP
#define VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP 5
struct vfio_device_info_cap_pci_atomic_comp { /* 16 bytes */
  struct vfio_info_cap_header header;
  __u32 flags;
#define VFIO_PCI_ATOMIC_COMP32 (1 << 0)
#define VFIO_PCI_ATOMIC_COMP64 (1 << 1)
#define VFIO_PCI_ATOMIC_COMP128 (1 << 2)
  __u32 reserved;
};
#endif

/* ---- hot reset --------------------------------------------------------------------------------------- */

#ifdef IOMMUFD_USER_OLD_VFIO_HEADER
struct vfio_pci_dependent_device { /* 8 bytes */
  union {
    __u32 group_id;
    __u32 devid; /* with VFIO_PCI_HOT_RESET_FLAG_DEV_ID */
  };
  __u16 segment;
  __u8 bus;
  __u8 devfn;
};
struct vfio_pci_hot_reset_info { /* 12 bytes and the array */
  __u32 argsz;
  __u32 flags;
  __u32 count;
  struct vfio_pci_dependent_device devices[];
};
#ifndef VFIO_PCI_HOT_RESET_FLAG_DEV_ID
#define VFIO_PCI_DEVID_OWNED 0
#define VFIO_PCI_DEVID_NOT_OWNED -1
#define VFIO_PCI_HOT_RESET_FLAG_DEV_ID (1 << 0)
#define VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED (1 << 1)
#endif
#endif

/* ---- iommufd ----------------------------------------------------------------------------------------- */

#ifdef IOMMUFD_USER_OLD_VFIO_HEADER
struct vfio_device_bind_iommufd { /* 24 bytes; the first version had 16 */
  __u32 argsz;
  __u32 flags;
  __s32 iommufd;
  __u32 out_devid;
  __aligned_u64 token_uuid_ptr;
};
struct vfio_device_attach_iommufd_pt { /* 16 bytes; the first version had 12 */
  __u32 argsz;
  __u32 flags;
  __u32 pt_id; /* in: IOAS or HWPT; out: HWPT */
  __u32 pasid;
};
struct vfio_device_detach_iommufd_pt { /* 12 bytes; the first version had 8 */
  __u32 argsz;
  __u32 flags;
  __u32 pasid;
};
#endif
#ifndef VFIO_DEVICE_BIND_FLAG_TOKEN
#define VFIO_DEVICE_BIND_FLAG_TOKEN (1 << 0)
#endif
#ifndef VFIO_DEVICE_BIND_IOMMUFD
#define VFIO_DEVICE_BIND_IOMMUFD _IO(VFIO_TYPE, VFIO_BASE + 18)
#endif
#ifndef VFIO_DEVICE_ATTACH_PASID
#define VFIO_DEVICE_ATTACH_PASID (1 << 0)
#endif
#ifndef VFIO_DEVICE_ATTACH_IOMMUFD_PT
#define VFIO_DEVICE_ATTACH_IOMMUFD_PT _IO(VFIO_TYPE, VFIO_BASE + 19)
#endif
#ifndef VFIO_DEVICE_DETACH_PASID
#define VFIO_DEVICE_DETACH_PASID (1 << 0)
#endif
#ifndef VFIO_DEVICE_DETACH_IOMMUFD_PT
#define VFIO_DEVICE_DETACH_IOMMUFD_PT _IO(VFIO_TYPE, VFIO_BASE + 20)
#endif

/* ---- VFIO_DEVICE_FEATURE ----------------------------------------------------------------------------- */

#ifdef IOMMUFD_USER_OLD_VFIO_HEADER
#ifndef VFIO_MIGRATION_PRE_COPY
#define VFIO_MIGRATION_PRE_COPY (1 << 2)
#define VFIO_DEVICE_STATE_PRE_COPY 6
#define VFIO_DEVICE_STATE_PRE_COPY_P2P 7
#endif
#endif

#ifndef VFIO_MIG_GET_PRECOPY_INFO
struct vfio_precopy_info { /* 24 bytes */
  __u32 argsz;
  __u32 flags;
  __aligned_u64 initial_bytes;
  __aligned_u64 dirty_bytes;
};
#define VFIO_MIG_GET_PRECOPY_INFO _IO(VFIO_TYPE, VFIO_BASE + 21)
#endif

#ifndef VFIO_DEVICE_FEATURE_MIG_DATA_SIZE
struct vfio_device_feature_mig_data_size { /* 8 bytes */
  __aligned_u64 stop_copy_length;
};
#define VFIO_DEVICE_FEATURE_MIG_DATA_SIZE 9
#endif

#ifndef VFIO_DEVICE_FEATURE_BUS_MASTER
struct vfio_device_feature_bus_master { /* 4 bytes */
  __u32 op;
#define VFIO_DEVICE_FEATURE_CLEAR_MASTER 0
#define VFIO_DEVICE_FEATURE_SET_MASTER 1
};
#define VFIO_DEVICE_FEATURE_BUS_MASTER 10
#endif

#ifndef VFIO_DEVICE_FEATURE_DMA_BUF
#define VFIO_DEVICE_FEATURE_DMA_BUF 11
struct vfio_region_dma_range { /* 16 bytes */
  __u64 offset;
  __u64 length;
};
struct vfio_device_feature_dma_buf { /* 16 bytes and the array */
  __u32 region_index;
  __u32 open_flags;
  __u32 flags;
  __u32 nr_ranges;
  struct vfio_region_dma_range dma_ranges[];
};
#endif

#ifndef VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2
#define VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 12
#endif

#endif /* IOMMUFD_USER_UAPI_LINUX_VFIO_H */

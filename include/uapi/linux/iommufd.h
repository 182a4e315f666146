/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * <linux/iommufd.h> for machines whose kernel headers are too old: Linux's own names, laid out as in
 * Linux 7.3.
 *
 * Put include/uapi before the system's headers (cc -I .../include/uapi) and include <linux/iommufd.h> as
 * usual; C11 and C++ both work. What the system's header already has is taken from there, by these rules:
 *
 *  1. A system header is included first (#include_next), if there is one.
 *  2. A command with its struct and enums is added here when the system does not define its IOMMU_* macro.
 *  3. Some structs grew, or came without a macro of their own. A system header older than Linux 7.0 gets
 * those renamed to *_old while it is read, and they are defined here. The kernel takes the old and the new
 * sizes.
 *  4. Constants that were added to an enum after its first version become macros when the system header is
 * older than 7.0. They have the values of the enumerators that they may hide.
 *
 * Each struct states its size; tests/contract/abi compares all of it with a table of offsets.
 */
#ifndef IOMMUFD_USER_UAPI_LINUX_IOMMUFD_H
#define IOMMUFD_USER_UAPI_LINUX_IOMMUFD_H

#pragma GCC system_header

#include <linux/ioctl.h>
#include <linux/types.h>
#include <linux/version.h>

#if defined(__has_include_next)
#if __has_include_next(<linux/iommufd.h>)
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
#define IOMMUFD_USER_CURRENT_SYSTEM_HEADER 1
#include_next <linux/iommufd.h>
#else
#define IOMMUFD_USER_OLD_SYSTEM_HEADER 1
#define iommu_hwpt_alloc iommu_hwpt_alloc_old
#define iommu_hw_info iommu_hw_info_old
#define iommu_viommu_alloc iommu_viommu_alloc_old
#define iommu_hwpt_vtd_s1 iommu_hwpt_vtd_s1_old
#define iommu_hwpt_arm_smmuv3 iommu_hwpt_arm_smmuv3_old
#define iommu_hwpt_amd_guest iommu_hwpt_amd_guest_old
#define iommu_hw_info_arm_smmuv3 iommu_hw_info_arm_smmuv3_old
#define iommu_hw_info_tegra241_cmdqv iommu_hw_info_tegra241_cmdqv_old
#define iommu_hw_info_amd iommu_hw_info_amd_old
#define iommu_hwpt_vtd_s1_invalidate iommu_hwpt_vtd_s1_invalidate_old
#define iommu_viommu_arm_smmuv3_invalidate iommu_viommu_arm_smmuv3_invalidate_old
#define iommu_viommu_tegra241_cmdqv iommu_viommu_tegra241_cmdqv_old
#include_next <linux/iommufd.h>
#undef iommu_hwpt_alloc
#undef iommu_hw_info
#undef iommu_viommu_alloc
#undef iommu_hwpt_vtd_s1
#undef iommu_hwpt_arm_smmuv3
#undef iommu_hwpt_amd_guest
#undef iommu_hw_info_arm_smmuv3
#undef iommu_hw_info_tegra241_cmdqv
#undef iommu_hw_info_amd
#undef iommu_hwpt_vtd_s1_invalidate
#undef iommu_viommu_arm_smmuv3_invalidate
#undef iommu_viommu_tegra241_cmdqv
#endif
#endif
#endif

#ifndef IOMMUFD_TYPE
#define IOMMUFD_TYPE (';')
#endif

/* ---- objects ----------------------------------------------------------------------------------------- */

#ifndef IOMMU_DESTROY
struct iommu_destroy { /* 8 bytes */
  __u32 size;
  __u32 id;
};
#define IOMMUFD_CMD_BASE 0x80
#define IOMMUFD_CMD_DESTROY 0x80
#define IOMMU_DESTROY _IO(IOMMUFD_TYPE, IOMMUFD_CMD_DESTROY)
#endif

/* ---- I/O address spaces ------------------------------------------------------------------------------ */

#ifndef IOMMU_IOAS_ALLOC
struct iommu_ioas_alloc { /* 12 bytes */
  __u32 size;
  __u32 flags; /* 0 */
  __u32 out_ioas_id;
};
#define IOMMUFD_CMD_IOAS_ALLOC 0x81
#define IOMMU_IOAS_ALLOC _IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_ALLOC)
#endif

#ifndef IOMMU_IOAS_IOVA_RANGES
struct iommu_iova_range { /* 16 bytes */
  __aligned_u64 start;
  __aligned_u64 last; /* inclusive */
};
struct iommu_ioas_iova_ranges { /* 32 bytes */
  __u32 size;
  __u32 ioas_id;
  __u32 num_iovas; /* in: room in the array; out: number of ranges, also with EMSGSIZE */
  __u32 __reserved;
  __aligned_u64 allowed_iovas; /* pointer to struct iommu_iova_range[] */
  __aligned_u64 out_iova_alignment;
};
#define IOMMUFD_CMD_IOAS_IOVA_RANGES 0x84
#define IOMMU_IOAS_IOVA_RANGES _IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_IOVA_RANGES)
#endif

#ifndef IOMMU_IOAS_ALLOW_IOVAS
struct iommu_ioas_allow_iovas { /* 24 bytes */
  __u32 size;
  __u32 ioas_id;
  __u32 num_iovas;
  __u32 __reserved;
  __aligned_u64 allowed_iovas; /* pointer to struct iommu_iova_range[] */
};
#define IOMMUFD_CMD_IOAS_ALLOW_IOVAS 0x82
#define IOMMU_IOAS_ALLOW_IOVAS _IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_ALLOW_IOVAS)
#endif

#ifndef IOMMU_IOAS_MAP
enum iommufd_ioas_map_flags {
  IOMMU_IOAS_MAP_FIXED_IOVA = 1,
  IOMMU_IOAS_MAP_WRITEABLE = 2,
  IOMMU_IOAS_MAP_READABLE = 4,
};
struct iommu_ioas_map { /* 40 bytes */
  __u32 size;
  __u32 flags;
  __u32 ioas_id;
  __u32 __reserved;
  __aligned_u64 user_va;
  __aligned_u64 length;
  __aligned_u64 iova; /* in with FIXED_IOVA, otherwise out */
};
#define IOMMUFD_CMD_IOAS_MAP 0x85
#define IOMMU_IOAS_MAP _IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_MAP)
#endif

#ifndef IOMMU_IOAS_MAP_FILE
struct iommu_ioas_map_file { /* 40 bytes */
  __u32 size;
  __u32 flags; /* as iommu_ioas_map */
  __u32 ioas_id;
  __s32 fd;
  __aligned_u64 start; /* byte offset in the file */
  __aligned_u64 length;
  __aligned_u64 iova;
};
#define IOMMUFD_CMD_IOAS_MAP_FILE 0x8f
#define IOMMU_IOAS_MAP_FILE _IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_MAP_FILE)
#endif

#ifndef IOMMU_IOAS_COPY
struct iommu_ioas_copy { /* 40 bytes */
  __u32 size;
  __u32 flags; /* as iommu_ioas_map */
  __u32 dst_ioas_id;
  __u32 src_ioas_id;
  __aligned_u64 length;
  __aligned_u64 dst_iova;
  __aligned_u64 src_iova;
};
#define IOMMUFD_CMD_IOAS_COPY 0x83
#define IOMMU_IOAS_COPY _IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_COPY)
#endif

#ifndef IOMMU_IOAS_UNMAP
struct iommu_ioas_unmap { /* 24 bytes */
  __u32 size;
  __u32 ioas_id;
  __aligned_u64 iova;
  __aligned_u64 length; /* out: bytes unmapped */
};
#define IOMMUFD_CMD_IOAS_UNMAP 0x86
#define IOMMU_IOAS_UNMAP _IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_UNMAP)
#endif

#ifndef IOMMU_IOAS_CHANGE_PROCESS
struct iommu_ioas_change_process { /* 8 bytes */
  __u32 size;
  __u32 __reserved;
};
#define IOMMUFD_CMD_IOAS_CHANGE_PROCESS 0x92
#define IOMMU_IOAS_CHANGE_PROCESS _IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_CHANGE_PROCESS)
#endif

#ifndef IOMMU_IOAS_NOIOMMU_GET_PA
struct iommu_ioas_noiommu_get_pa { /* 40 bytes */
  __u32 size;
  __u32 flags; /* 0 */
  __u32 ioas_id;
  __u32 __reserved;
  __aligned_u64 iova;
  __aligned_u64 length; /* in: most bytes wanted, not 0; out: contiguous bytes from out_phys */
  __aligned_u64 out_phys;
};
#define IOMMUFD_CMD_IOAS_NOIOMMU_GET_PA 0x95
#define IOMMU_IOAS_NOIOMMU_GET_PA _IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_NOIOMMU_GET_PA)
#endif

#ifndef IOMMU_OPTION
enum iommufd_option {
  IOMMU_OPTION_RLIMIT_MODE = 0,
  IOMMU_OPTION_HUGE_PAGES = 1,
};
enum iommufd_option_ops {
  IOMMU_OPTION_OP_SET = 0,
  IOMMU_OPTION_OP_GET = 1,
};
struct iommu_option { /* 24 bytes */
  __u32 size;
  __u32 option_id;
  __u16 op;
  __u16 __reserved;
  __u32 object_id;
  __aligned_u64 val64;
};
#define IOMMUFD_CMD_OPTION 0x87
#define IOMMU_OPTION _IO(IOMMUFD_TYPE, IOMMUFD_CMD_OPTION)
#endif

#ifndef IOMMU_VFIO_IOAS
enum iommufd_vfio_ioas_op {
  IOMMU_VFIO_IOAS_GET = 0,
  IOMMU_VFIO_IOAS_SET = 1,
  IOMMU_VFIO_IOAS_CLEAR = 2,
};
struct iommu_vfio_ioas { /* 12 bytes */
  __u32 size;
  __u32 ioas_id;
  __u16 op;
  __u16 __reserved;
};
#define IOMMUFD_CMD_VFIO_IOAS 0x88
#define IOMMU_VFIO_IOAS _IO(IOMMUFD_TYPE, IOMMUFD_CMD_VFIO_IOAS)
#endif

/* ---- hardware page tables ---------------------------------------------------------------------------- */

#ifndef IOMMUFD_USER_CURRENT_SYSTEM_HEADER
struct iommu_hwpt_alloc { /* 48 bytes; the first version had 24 */
  __u32 size;
  __u32 flags;
  __u32 dev_id;
  __u32 pt_id;
  __u32 out_hwpt_id;
  __u32 __reserved;
  __u32 data_type;
  __u32 data_len;
  __aligned_u64 data_uptr;
  __u32 fault_id;
  __u32 __reserved2;
};
#endif
#ifndef IOMMU_HWPT_ALLOC
enum iommufd_hwpt_alloc_flags {
  IOMMU_HWPT_ALLOC_NEST_PARENT = 1,
  IOMMU_HWPT_ALLOC_DIRTY_TRACKING = 2,
  IOMMU_HWPT_FAULT_ID_VALID = 4,
  IOMMU_HWPT_ALLOC_PASID = 8,
};
enum iommu_hwpt_data_type {
  IOMMU_HWPT_DATA_NONE = 0,
  IOMMU_HWPT_DATA_VTD_S1 = 1,
  IOMMU_HWPT_DATA_ARM_SMMUV3 = 2,
  IOMMU_HWPT_DATA_AMD_GUEST = 3,
};
#define IOMMUFD_CMD_HWPT_ALLOC 0x89
#define IOMMU_HWPT_ALLOC _IO(IOMMUFD_TYPE, IOMMUFD_CMD_HWPT_ALLOC)
#elif defined(IOMMUFD_USER_OLD_SYSTEM_HEADER)
#define IOMMU_HWPT_ALLOC_NEST_PARENT 1
#define IOMMU_HWPT_ALLOC_DIRTY_TRACKING 2
#define IOMMU_HWPT_FAULT_ID_VALID 4
#define IOMMU_HWPT_ALLOC_PASID 8
#define IOMMU_HWPT_DATA_NONE 0
#define IOMMU_HWPT_DATA_VTD_S1 1
#define IOMMU_HWPT_DATA_ARM_SMMUV3 2
#define IOMMU_HWPT_DATA_AMD_GUEST 3
#endif

#ifndef IOMMUFD_USER_CURRENT_SYSTEM_HEADER
struct iommu_hw_info { /* 40 bytes; the first version had 32 */
  __u32 size;
  __u32 flags;
  __u32 dev_id;
  __u32 data_len; /* in: room in the buffer; out: length that the kernel has */
  __aligned_u64 data_uptr;
  union {
    __u32 in_data_type; /* with IOMMU_HW_INFO_FLAG_INPUT_TYPE */
    __u32 out_data_type;
  };
  __u8 out_max_pasid_log2;
  __u8 __reserved[3];
  __aligned_u64 out_capabilities;
};
#endif
#ifndef IOMMU_GET_HW_INFO
enum iommu_hw_info_type {
  IOMMU_HW_INFO_TYPE_NONE = 0,
  IOMMU_HW_INFO_TYPE_DEFAULT = 0,
  IOMMU_HW_INFO_TYPE_INTEL_VTD = 1,
  IOMMU_HW_INFO_TYPE_ARM_SMMUV3 = 2,
  IOMMU_HW_INFO_TYPE_TEGRA241_CMDQV = 3,
  IOMMU_HW_INFO_TYPE_AMD = 4,
};
enum iommufd_hw_info_flags {
  IOMMU_HW_INFO_FLAG_INPUT_TYPE = 1,
};
enum iommufd_hw_capabilities {
  IOMMU_HW_CAP_DIRTY_TRACKING = 1,
  IOMMU_HW_CAP_PCI_PASID_EXEC = 2,
  IOMMU_HW_CAP_PCI_PASID_PRIV = 4,
  IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED = 8,
};
struct iommu_hw_info_vtd { /* 24 bytes */
  __u32 flags;
  __u32 __reserved;
  __aligned_u64 cap_reg;
  __aligned_u64 ecap_reg;
};
enum iommu_hw_info_vtd_flags {
  IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17 = 1,
};
#define IOMMUFD_CMD_GET_HW_INFO 0x8a
#define IOMMU_GET_HW_INFO _IO(IOMMUFD_TYPE, IOMMUFD_CMD_GET_HW_INFO)
#elif defined(IOMMUFD_USER_OLD_SYSTEM_HEADER)
#define IOMMU_HW_INFO_TYPE_DEFAULT 0
#define IOMMU_HW_INFO_TYPE_ARM_SMMUV3 2
#define IOMMU_HW_INFO_TYPE_TEGRA241_CMDQV 3
#define IOMMU_HW_INFO_TYPE_AMD 4
#define IOMMU_HW_INFO_FLAG_INPUT_TYPE 1
#define IOMMU_HW_CAP_DIRTY_TRACKING 1
#define IOMMU_HW_CAP_PCI_PASID_EXEC 2
#define IOMMU_HW_CAP_PCI_PASID_PRIV 4
#define IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED 8
#define IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17 1
#endif

#ifndef IOMMUFD_USER_CURRENT_SYSTEM_HEADER
/* Data for IOMMU_HWPT_ALLOC, by data_type. */
struct iommu_hwpt_vtd_s1 { /* 24 bytes */
  __aligned_u64 flags;
  __aligned_u64 pgtbl_addr;
  __u32 addr_width;
  __u32 __reserved;
};
struct iommu_hwpt_arm_smmuv3 { /* 16 bytes */
  __aligned_le64 ste[2];
};
struct iommu_hwpt_amd_guest { /* 32 bytes */
  __aligned_u64 dte[4];
};
/* Data from IOMMU_GET_HW_INFO, by out_data_type; iommu_hw_info_vtd is above. */
struct iommu_hw_info_arm_smmuv3 { /* 40 bytes */
  __u32 flags;
  __u32 __reserved;
  __u32 idr[6];
  __u32 iidr;
  __u32 aidr;
};
struct iommu_hw_info_tegra241_cmdqv { /* 8 bytes */
  __u32 flags;
  __u8 version;
  __u8 log2vcmdqs;
  __u8 log2vsids;
  __u8 __reserved;
};
struct iommu_hw_info_amd { /* 16 bytes */
  __aligned_u64 efr;
  __aligned_u64 efr2;
};
#endif
#ifndef IOMMU_HWPT_SET_DIRTY_TRACKING
enum iommufd_hwpt_set_dirty_tracking_flags {
  IOMMU_HWPT_DIRTY_TRACKING_ENABLE = 1,
};
struct iommu_hwpt_set_dirty_tracking { /* 16 bytes */
  __u32 size;
  __u32 flags;
  __u32 hwpt_id;
  __u32 __reserved;
};
#define IOMMUFD_CMD_HWPT_SET_DIRTY_TRACKING 0x8b
#define IOMMU_HWPT_SET_DIRTY_TRACKING _IO(IOMMUFD_TYPE, IOMMUFD_CMD_HWPT_SET_DIRTY_TRACKING)
#endif

#ifndef IOMMU_HWPT_GET_DIRTY_BITMAP
enum iommufd_hwpt_get_dirty_bitmap_flags {
  IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR = 1,
};
struct iommu_hwpt_get_dirty_bitmap { /* 48 bytes */
  __u32 size;
  __u32 hwpt_id;
  __u32 flags;
  __u32 __reserved;
  __aligned_u64 iova;
  __aligned_u64 length;
  __aligned_u64 page_size; /* bytes that one bit stands for */
  __aligned_u64 data;      /* pointer to the bitmap */
};
#define IOMMUFD_CMD_HWPT_GET_DIRTY_BITMAP 0x8c
#define IOMMU_HWPT_GET_DIRTY_BITMAP _IO(IOMMUFD_TYPE, IOMMUFD_CMD_HWPT_GET_DIRTY_BITMAP)
#endif

#ifndef IOMMUFD_USER_CURRENT_SYSTEM_HEADER
struct iommu_hwpt_vtd_s1_invalidate { /* 24 bytes */
  __aligned_u64 addr;
  __aligned_u64 npages;
  __u32 flags;
  __u32 __reserved;
};
struct iommu_viommu_arm_smmuv3_invalidate { /* 16 bytes */
  __aligned_le64 cmd[2];
};
#endif
#ifndef IOMMU_HWPT_INVALIDATE
enum iommu_hwpt_vtd_s1_flags {
  IOMMU_VTD_S1_SRE = 1,
  IOMMU_VTD_S1_EAFE = 2,
  IOMMU_VTD_S1_WPE = 4,
};
enum iommu_hwpt_invalidate_data_type {
  IOMMU_HWPT_INVALIDATE_DATA_VTD_S1 = 0,
  IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3 = 1,
};
enum iommu_hwpt_vtd_s1_invalidate_flags {
  IOMMU_VTD_INV_FLAGS_LEAF = 1,
};
struct iommu_hwpt_invalidate { /* 32 bytes */
  __u32 size;
  __u32 hwpt_id;
  __aligned_u64 data_uptr;
  __u32 data_type;
  __u32 entry_len;
  __u32 entry_num; /* in: entries of the array; out: entries handled */
  __u32 __reserved;
};
#define IOMMUFD_CMD_HWPT_INVALIDATE 0x8d
#define IOMMU_HWPT_INVALIDATE _IO(IOMMUFD_TYPE, IOMMUFD_CMD_HWPT_INVALIDATE)
#elif defined(IOMMUFD_USER_OLD_SYSTEM_HEADER)
#define IOMMU_HWPT_INVALIDATE_DATA_VTD_S1 0
#define IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3 1
#endif

/* ---- page faults ------------------------------------------------------------------------------------- */

#ifndef IOMMU_FAULT_QUEUE_ALLOC
struct iommu_fault_alloc { /* 16 bytes */
  __u32 size;
  __u32 flags; /* 0 */
  __u32 out_fault_id;
  __u32 out_fault_fd;
};
enum iommu_hwpt_pgfault_flags {
  IOMMU_PGFAULT_FLAGS_PASID_VALID = 1,
  IOMMU_PGFAULT_FLAGS_LAST_PAGE = 2,
};
enum iommu_hwpt_pgfault_perm {
  IOMMU_PGFAULT_PERM_READ = 1,
  IOMMU_PGFAULT_PERM_WRITE = 2,
  IOMMU_PGFAULT_PERM_EXEC = 4,
  IOMMU_PGFAULT_PERM_PRIV = 8,
};
struct iommu_hwpt_pgfault { /* 40 bytes, read from the fault descriptor */
  __u32 flags;
  __u32 dev_id;
  __u32 pasid;
  __u32 grpid;
  __u32 perm;
  __u32 __reserved;
  __aligned_u64 addr;
  __u32 length;
  __u32 cookie;
};
enum iommufd_page_response_code {
  IOMMUFD_PAGE_RESP_SUCCESS = 0,
  IOMMUFD_PAGE_RESP_INVALID = 1,
};
struct iommu_hwpt_page_response { /* 8 bytes, written to the fault descriptor */
  __u32 cookie;
  __u32 code;
};
#define IOMMUFD_CMD_FAULT_QUEUE_ALLOC 0x8e
#define IOMMU_FAULT_QUEUE_ALLOC _IO(IOMMUFD_TYPE, IOMMUFD_CMD_FAULT_QUEUE_ALLOC)
#endif

/* ---- virtual IOMMUs ---------------------------------------------------------------------------------- */

#ifndef IOMMUFD_USER_CURRENT_SYSTEM_HEADER
struct iommu_viommu_alloc { /* 40 bytes; the first version had 24 */
  __u32 size;
  __u32 flags; /* 0 */
  __u32 type;
  __u32 dev_id;
  __u32 hwpt_id;
  __u32 out_viommu_id;
  __u32 data_len;
  __u32 __reserved;
  __aligned_u64 data_uptr;
};
struct iommu_viommu_tegra241_cmdqv { /* 16 bytes */
  __aligned_u64 out_vintf_mmap_offset;
  __aligned_u64 out_vintf_mmap_length;
};
#endif
#ifndef IOMMU_VIOMMU_ALLOC
enum iommu_viommu_type {
  IOMMU_VIOMMU_TYPE_DEFAULT = 0,
  IOMMU_VIOMMU_TYPE_ARM_SMMUV3 = 1,
  IOMMU_VIOMMU_TYPE_TEGRA241_CMDQV = 2,
};
#define IOMMUFD_CMD_VIOMMU_ALLOC 0x90
#define IOMMU_VIOMMU_ALLOC _IO(IOMMUFD_TYPE, IOMMUFD_CMD_VIOMMU_ALLOC)
#elif defined(IOMMUFD_USER_OLD_SYSTEM_HEADER)
#define IOMMU_VIOMMU_TYPE_TEGRA241_CMDQV 2
#endif

#ifndef IOMMU_VDEVICE_ALLOC
struct iommu_vdevice_alloc { /* 24 bytes */
  __u32 size;
  __u32 viommu_id;
  __u32 dev_id;
  __u32 out_vdevice_id;
  __aligned_u64 virt_id;
};
#define IOMMUFD_CMD_VDEVICE_ALLOC 0x91
#define IOMMU_VDEVICE_ALLOC _IO(IOMMUFD_TYPE, IOMMUFD_CMD_VDEVICE_ALLOC)
#endif

#ifndef IOMMU_VEVENTQ_ALLOC
enum iommu_veventq_flag {
  IOMMU_VEVENTQ_FLAG_LOST_EVENTS = 1,
};
enum iommu_veventq_type {
  IOMMU_VEVENTQ_TYPE_DEFAULT = 0,
  IOMMU_VEVENTQ_TYPE_ARM_SMMUV3 = 1,
  IOMMU_VEVENTQ_TYPE_TEGRA241_CMDQV = 2,
};
struct iommufd_vevent_header { /* 8 bytes, read from the event descriptor; the data of the type follows */
  __u32 flags;
  __u32 sequence;
};
struct iommu_vevent_arm_smmuv3 { /* 32 bytes */
  __aligned_le64 evt[4];
};
struct iommu_veventq_alloc { /* 32 bytes */
  __u32 size;
  __u32 flags; /* 0 */
  __u32 viommu_id;
  __u32 type;
  __u32 veventq_depth;
  __u32 out_veventq_id;
  __u32 out_veventq_fd;
  __u32 __reserved;
};
#define IOMMUFD_CMD_VEVENTQ_ALLOC 0x93
#define IOMMU_VEVENTQ_ALLOC _IO(IOMMUFD_TYPE, IOMMUFD_CMD_VEVENTQ_ALLOC)
#elif defined(IOMMUFD_USER_OLD_SYSTEM_HEADER)
#define IOMMU_VEVENTQ_TYPE_TEGRA241_CMDQV 2
#endif

#ifndef IOMMU_HW_QUEUE_ALLOC
enum iommu_hw_queue_type {
  IOMMU_HW_QUEUE_TYPE_DEFAULT = 0,
  IOMMU_HW_QUEUE_TYPE_TEGRA241_CMDQV = 1,
};
struct iommu_vevent_tegra241_cmdqv { /* 16 bytes */
  __aligned_le64 lvcmdq_err_map[2];
};
struct iommu_hw_queue_alloc { /* 40 bytes */
  __u32 size;
  __u32 flags; /* 0 */
  __u32 viommu_id;
  __u32 type;
  __u32 index;
  __u32 out_hw_queue_id;
  __aligned_u64 nesting_parent_iova;
  __aligned_u64 length;
};
#define IOMMUFD_CMD_HW_QUEUE_ALLOC 0x94
#define IOMMU_HW_QUEUE_ALLOC _IO(IOMMUFD_TYPE, IOMMUFD_CMD_HW_QUEUE_ALLOC)
#endif

#endif /* IOMMUFD_USER_UAPI_LINUX_IOMMUFD_H */

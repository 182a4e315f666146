// SPDX-License-Identifier: BSD-3-Clause
// The handlers of the iommufd commands. The dispatcher has copied the struct in and checked its size and tail; a handler
// checks in the kernel's order, works, and replies. Sections are those of spec iommufd-core.
#pragma once

#include "abi/iommufd.hpp"
#include "core/context.hpp"
#include "core/ioas.hpp"
#include "ioctl/arguments.hpp"

namespace iommufd::ioctl {

Result<void> destroy(core::Context& ctx, Arguments<abi::Destroy>& a);                               // 1.9
Result<void> ioas_alloc(core::Context& ctx, Arguments<abi::IoasAlloc>& a);                          // 3.1
Result<void> ioas_allow_iovas(core::Context& ctx, Arguments<abi::IoasAllowIovas>& a);               // 3.3
Result<void> ioas_copy(core::Context& ctx, Arguments<abi::IoasCopy>& a);                            // 3.7
Result<void> ioas_iova_ranges(core::Context& ctx, Arguments<abi::IoasIovaRanges>& a);               // 3.2
Result<void> ioas_map(core::Context& ctx, Arguments<abi::IoasMap>& a);                              // 3.4
Result<void> ioas_map_file(core::Context& ctx, Arguments<abi::IoasMapFile>& a);                     // 3.6
Result<void> ioas_unmap(core::Context& ctx, Arguments<abi::IoasUnmap>& a);                          // 3.8
Result<void> ioas_change_process(core::Context& ctx, Arguments<abi::IoasChangeProcess>& a);         // 3.10
Result<void> ioas_noiommu_get_pa(core::Context& ctx, Arguments<abi::IoasNoiommuGetPa>& a);          // noiommu 12
Result<void> option(core::Context& ctx, Arguments<abi::Option>& a);                                 // 3.9
Result<void> vfio_ioas(core::Context& ctx, Arguments<abi::VfioIoas>& a);                            // 3.11
Result<void> hwpt_alloc(core::Context& ctx, Arguments<abi::HwptAlloc>& a);                          // A.1
Result<void> hwpt_set_dirty_tracking(core::Context& ctx, Arguments<abi::HwptSetDirtyTracking>& a);  // A.2
Result<void> hwpt_get_dirty_bitmap(core::Context& ctx, Arguments<abi::HwptGetDirtyBitmap>& a);      // A.3
Result<void> hwpt_invalidate(core::Context& ctx, Arguments<abi::HwptInvalidate>& a);                // A.4
Result<void> get_hw_info(core::Context& ctx, Arguments<abi::HwInfo>& a);                            // A.5
Result<void> viommu_alloc(core::Context& ctx, Arguments<abi::ViommuAlloc>& a);                      // A.7
Result<void> vdevice_alloc(core::Context& ctx, Arguments<abi::VdeviceAlloc>& a);                    // A.8
Result<void> veventq_alloc(core::Context& ctx, Arguments<abi::VeventqAlloc>& a);                    // A.9
Result<void> hw_queue_alloc(core::Context& ctx, Arguments<abi::HwQueueAlloc>& a);                   // A.10

// Maps memory of the caller, for MAP and for VFIO's MAP_DMA: rows 5 to 11 of 3.4. Returns the IOVA.
Result<u64> map_user_memory(core::Context& ctx, Call& call, core::Ioas& ioas, const core::MapRequest& request,
                            u64 user_va);

}  // namespace iommufd::ioctl

// SPDX-License-Identifier: BSD-3-Clause
// An open of /dev/iommu as a VFIO container with a type1 IOMMU (spec iommufd-core 6): the commands below 0x80. They work on
// the compat IOAS of the context; nothing is latched, so they may come in any order.
#pragma once

#include "core/context.hpp"
#include "core/ioas.hpp"
#include "ioctl/file.hpp"

namespace iommufd::ioctl {

// Errors: kNoTty for every other number, with `arg` not looked at.
Result<s64> vfio_container_ioctl(core::Context& ctx, Call& call, u32 cmd, u64 arg);

// "VFIO_IOMMU_MAP_DMA" for 0x3B71; null for a number that is no command of a container.
const char* vfio_container_command_name(u32 cmd);

// The compat IOAS. Errors: kNoDev when there is none, or it is being destroyed.
Result<core::Use<core::Ioas>> compat_ioas(core::Context& ctx);

// VFIO_IOMMU_GET_INFO, 6.6.
Result<void> vfio_get_info(core::Context& ctx, Call& call, UserVa arg);

}  // namespace iommufd::ioctl

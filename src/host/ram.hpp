// SPDX-License-Identifier: BSD-3-Clause
// The memory of this machine.
#pragma once

#include "base/types.hpp"

namespace iommufd::host {

// The first address behind all RAM, as /proc/iomem says; 64 TiB when it does not say.
u64 ram_end();

}  // namespace iommufd::host

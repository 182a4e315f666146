// SPDX-License-Identifier: BSD-3-Clause
// `-d host,addr=BDF`: a function of this machine that no IOMMU manages.
#pragma once

#include "models/registry.hpp"

namespace iommufd::host {

// The entry of `host` in the table of kinds of devices.
models::Kind kind();

}  // namespace iommufd::host

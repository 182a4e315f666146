// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "models/registry.hpp"

namespace iommufd::models::nvme {

// The entry of `nvme` in the table of models.
Kind kind();

}  // namespace iommufd::models::nvme

// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "models/registry.hpp"

namespace iommufd::models {

// The entry of `edu` in the table of models.
Kind edu_kind();

}  // namespace iommufd::models

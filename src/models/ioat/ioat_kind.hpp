// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "models/registry.hpp"

namespace iommufd::models::ioat {

Kind kind();

}  // namespace iommufd::models::ioat

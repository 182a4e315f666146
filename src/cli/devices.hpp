// SPDX-License-Identifier: BSD-3-Clause
// `iommufd-user devices`: the models, their keys and the kinds of IOMMU, as text.
#pragma once

#include <string>

namespace iommufd::cli {

std::string describe_devices();

}  // namespace iommufd::cli

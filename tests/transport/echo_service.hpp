// SPDX-License-Identifier: BSD-3-Clause
// What tests/transport serves instead of a machine: files that answer questions about the transport (echo_abi.h).
#pragma once

#include "run/service.hpp"

namespace iommufd::run {

// /dev/iommu, /dev/vfio/devices/vfio0 (region 0 can be mapped), and a few text files.
Result<std::unique_ptr<Service>> make_echo_service();

}  // namespace iommufd::run

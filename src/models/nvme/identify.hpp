// SPDX-License-Identifier: BSD-3-Clause
// The data structures of Identify (NVMe 1.4, 5.15; spec nvme 5).
#pragma once

#include <array>

#include "models/nvme/config.hpp"
#include "models/nvme/status.hpp"
#include "models/nvme/wire.hpp"

namespace iommufd::models::nvme {

using IdentifyData = std::array<std::byte, 4096>;

// What the command asks for. `out` is zero before.
Step identify(const NvmeConfig& config, const Sqe& sqe, IdentifyData& out);

inline constexpr u16 kPciVendor = 0x1b36, kPciDevice = 0x0010, kPciSubsystemVendor = 0x1af4, kPciSubsystem = 0x1100;
inline constexpr std::string_view kFirmware = "1.0";

}  // namespace iommufd::models::nvme

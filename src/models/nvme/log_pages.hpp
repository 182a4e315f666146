// SPDX-License-Identifier: BSD-3-Clause
// The log pages (NVMe 1.4, 5.14; spec nvme 5).
#pragma once

#include <expected>
#include <vector>

#include "models/nvme/features.hpp"

namespace iommufd::models::nvme {

// What the controller has counted since it was made.
struct Statistics {
  u64 bytes_read = 0, bytes_written = 0;
  u64 reads = 0, writes = 0;
};

enum class LogPage : u8 {
  kErrors = 0x01,
  kSmart = 0x02,
  kFirmware = 0x03,
  kChangedNamespaces = 0x04,
  kEffects = 0x05,
};

// All bytes of the page.
std::expected<std::vector<std::byte>, Status> log_page(const NvmeConfig& config, const Features& features,
                                                       const Statistics& statistics, const Sqe& sqe);

}  // namespace iommufd::models::nvme

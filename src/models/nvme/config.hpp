// SPDX-License-Identifier: BSD-3-Clause
// What a controller is made of, decided by the keys of its model.
#pragma once

#include <string>

#include "models/nvme/image_file.hpp"
#include "models/nvme/registers.hpp"

namespace iommufd::models::nvme {

struct NvmeConfig {
  u32 io_queues = 64;
  unsigned block_lg2 = 9;
  u32 namespaces = 1;
  u64 namespace_size = u64{64} << 20;  // bytes, a multiple of the block
  Protection protection = Protection::kWritable;
  bool sgl = true;
  bool doorbell_buffer = false;
  std::string serial = "1";

  [[nodiscard]] u64 blocks() const { return namespace_size >> block_lg2; }
  [[nodiscard]] u32 vectors() const { return io_queues + 1; }
};

// Bytes that one command moves (MDTS, in units of 4 KiB).
inline constexpr unsigned kMdtsLg2 = 7;
inline constexpr u64 kMostBytes = u64{4096} << kMdtsLg2;

}  // namespace iommufd::models::nvme

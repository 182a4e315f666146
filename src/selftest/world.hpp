// SPDX-License-Identifier: BSD-3-Clause
// What the test ABI has once per machine: the mock IOMMU, and the limit of temporary memory, which is remembered and
// changes nothing (spec selftest-abi 3.11, 4). Thread-safe; outlives every context, goes before the platform.
#pragma once

#include <atomic>

#include "iommu/platform.hpp"
#include "mem/dma_barrier.hpp"
#include "selftest/mock_iommu.hpp"

namespace iommufd::selftest {

class World {
 public:
  static constexpr u32 kSmallestMemoryLimit = 12;

  explicit World(iommu::Platform& platform);

  [[nodiscard]] iommu::Platform& platform() { return platform_; }
  [[nodiscard]] MockIommu& iommu() { return iommu_; }
  [[nodiscard]] mem::DmaEpoch& walker() { return walker_; }
  // Errors: kInval (below kSmallestMemoryLimit).
  Result<void> set_memory_limit(u32 bytes);

 private:
  iommu::Platform& platform_;
  MockIommu iommu_;
  mem::DmaEpoch walker_;  // walks that compare translations with pages
  std::atomic<u32> memory_limit_{65536};
};

}  // namespace iommufd::selftest

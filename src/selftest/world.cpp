// SPDX-License-Identifier: BSD-3-Clause
#include "selftest/world.hpp"

#include "base/assert.hpp"
#include "base/explain.hpp"

namespace iommufd::selftest {

World::World(iommu::Platform& platform) : platform_(platform), iommu_(platform.tables()) {
  platform.phys().barrier().add(walker_);
}

Result<void> World::set_memory_limit(u32 bytes) {
  if (bytes < kSmallestMemoryLimit)
    return reject(Errno::kInval, {"limit", bytes, "must be at least 12", "selftest-abi 3.11"});
  memory_limit_.store(bytes, std::memory_order_relaxed);
  return {};
}

}  // namespace iommufd::selftest

// SPDX-License-Identifier: BSD-3-Clause
#include "iommu/platform.hpp"

namespace iommufd::iommu {
namespace {

// Above all RAM that a policy can ask for (mem/physical_memory.cpp), below the 52 bits of every format.
constexpr pt::TableArena::Config kTableMemory{.base = PhysAddr{u64{1} << 46}, .size = u64{16} << 30};

}  // namespace

Result<std::unique_ptr<Platform>> Platform::create(const mem::PhysPolicy& policy) {
  std::unique_ptr<mem::PhysicalMemory> phys = IOMMUFD_TRY(mem::PhysicalMemory::create(policy));
  std::unique_ptr<pt::TableArena> tables = IOMMUFD_TRY(pt::TableArena::create(kTableMemory));
  return std::unique_ptr<Platform>(new Platform(std::move(phys), std::move(tables)));
}

}  // namespace iommufd::iommu

// SPDX-License-Identifier: BSD-3-Clause
// What contexts and devices of one machine share: physical memory, memory for page tables, and the built-in operations
// for devices that no IOMMU manages.
#pragma once

#include <memory>

#include "base/result.hpp"
#include "iommu/instance.hpp"
#include "mem/physical_memory.hpp"
#include "pt/table_pages.hpp"

namespace iommufd::iommu {

class Platform {
 public:
  // Errors: those of PhysicalMemory::create and TableArena::create.
  static Result<std::unique_ptr<Platform>> create(const mem::PhysPolicy& policy);

  mem::PhysicalMemory& phys() { return *phys_; }
  pt::TableArena& tables() { return *tables_; }
  // Makes the software-only domains of noiommu devices; manages no device.
  Instance& noiommu() { return noiommu_; }

 private:
  Platform(std::unique_ptr<mem::PhysicalMemory> phys, std::unique_ptr<pt::TableArena> tables)
      : phys_(std::move(phys)), tables_(std::move(tables)), noiommu_(Kind::kNone, "noiommu", *tables_) {}

  const std::unique_ptr<mem::PhysicalMemory> phys_;
  const std::unique_ptr<pt::TableArena> tables_;
  Instance noiommu_;
};

}  // namespace iommufd::iommu

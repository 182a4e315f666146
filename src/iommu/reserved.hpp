// SPDX-License-Identifier: BSD-3-Clause
// Ranges of IOVA that an IOMMU keeps from devices, with the types that reserved_regions in sysfs says.
#pragma once

#include <compare>
#include <optional>
#include <string_view>
#include <vector>

#include "base/types.hpp"

namespace iommufd::iommu {

// In the order of the kernel's enum iommu_resv_type.
enum class ReservedType : u8 { kDirect, kReserved, kMsi, kSoftwareMsi };

struct ReservedRegion {
  IovaRange range;
  ReservedType type = ReservedType::kReserved;
  friend constexpr bool operator==(const ReservedRegion&, const ReservedRegion&) = default;
};

// As in sysfs: "direct", "reserved", "msi" (of both kinds).
std::string_view reserved_type_name(ReservedType type);
// By that name.
std::optional<ReservedType> parse_reserved_type(std::string_view name);

// As the kernel keeps them: by start, then by type; those of one type that overlap or touch are one.
std::vector<ReservedRegion> merge_reserved(std::vector<ReservedRegion> regions);

}  // namespace iommufd::iommu

// SPDX-License-Identifier: BSD-3-Clause
#include "iommu/reserved.hpp"

#include <algorithm>
#include <tuple>

namespace iommufd::iommu {

std::string_view reserved_type_name(ReservedType type) {
  switch (type) {
    case ReservedType::kDirect: return "direct";
    case ReservedType::kReserved: return "reserved";
    case ReservedType::kMsi:
    case ReservedType::kSoftwareMsi: break;
  }
  return "msi";
}

std::optional<ReservedType> parse_reserved_type(std::string_view name) {
  for (const ReservedType type : {ReservedType::kDirect, ReservedType::kReserved, ReservedType::kMsi})
    if (reserved_type_name(type) == name) return type;
  return std::nullopt;
}

std::vector<ReservedRegion> merge_reserved(std::vector<ReservedRegion> regions) {
  std::ranges::sort(regions, {}, [](const ReservedRegion& r) { return std::tuple(r.range.start, r.type); });
  std::vector<ReservedRegion> out;
  for (const ReservedRegion& r : regions) {
    const auto touches = [&](const ReservedRegion& earlier) {
      return earlier.type == r.type && (earlier.range.last == ~u64{0} || earlier.range.last + 1 >= r.range.start);
    };
    const auto same = std::ranges::find_if(out, touches);
    if (same == out.end())
      out.push_back(r);
    else
      same->range.last = std::max(same->range.last, r.range.last);
  }
  return out;
}

}  // namespace iommufd::iommu

// SPDX-License-Identifier: BSD-3-Clause
#include "iommu/kind.hpp"

#include <algorithm>
#include <array>

namespace iommufd::iommu {
namespace {

constexpr std::array kKinds{
    KindInfo{Kind::kAmd, "amd", "ivhd", true, "an AMD IOMMU with host page tables (AMD v1)"},
    KindInfo{Kind::kAmdV2, "amd-v2", "ivhd", true,
             "the same with guest page tables (x86-64); dirty tracking uses AMD v1"},
    KindInfo{Kind::kVtd, "vtd", "dmar", true, "an Intel VT-d IOMMU with second-stage page tables"},
    KindInfo{Kind::kVtdS1, "vtd-s1", "dmar", true,
             "the same with first-stage page tables (x86-64); dirty tracking uses the second stage"},
    KindInfo{Kind::kRiscV, "riscv", "riscv-iommu@3010000.iommu", false, "a RISC-V IOMMU with Sv57 page tables"},
    KindInfo{Kind::kSmmuV3, "smmuv3", "smmu3.0x0000000009050000", false,
             "an Arm SMMUv3 with stage 2 page tables (LPAE, 4 KiB)"},
    KindInfo{Kind::kNone, "none", "", false, "no IOMMU"},
};

}  // namespace

std::span<const KindInfo> device_kinds() { return kKinds; }

std::string_view kind_name(Kind kind) {
  const auto info = std::ranges::find(kKinds, kind, &KindInfo::kind);
  return info != kKinds.end() ? info->name : "mock";
}

std::optional<Kind> parse_kind(std::string_view name) {
  const auto info = std::ranges::find(kKinds, name, &KindInfo::name);
  if (info == kKinds.end()) return std::nullopt;
  return info->kind;
}

}  // namespace iommufd::iommu

// SPDX-License-Identifier: BSD-3-Clause
#include "iommu/kind.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace iommufd::iommu {
namespace {

constexpr NodeNames kIvhd{"ivhd", 0, 0, 1, ""}, kDmar{"dmar", 0, 0, 1, ""};
// By the address of the registers; the first is where QEMU has it.
constexpr NodeNames kRiscVNode{"riscv-iommu@", 7, 0x301'0000, 0x1000, ".iommu"};
constexpr NodeNames kSmmuNode{"smmu3.0x", 16, 0x905'0000, 0x2'0000, ""};

constexpr std::array kKinds{
    KindInfo{Kind::kAmd, "amd", kIvhd, "an AMD IOMMU with host page tables (AMD v1)"},
    KindInfo{Kind::kAmdV2, "amd-v2", kIvhd, "the same with guest page tables (x86-64); dirty tracking uses AMD v1"},
    KindInfo{Kind::kVtd, "vtd", kDmar, "an Intel VT-d IOMMU with second-stage page tables"},
    KindInfo{Kind::kVtdS1, "vtd-s1", kDmar,
             "the same with first-stage page tables (x86-64); dirty tracking uses the second stage"},
    KindInfo{Kind::kRiscV, "riscv", kRiscVNode, "a RISC-V IOMMU with Sv57 page tables"},
    KindInfo{Kind::kSmmuV3, "smmuv3", kSmmuNode, "an Arm SMMUv3 with stage 2 page tables (LPAE, 4 KiB)"},
    KindInfo{Kind::kNone, "none", {}, "no IOMMU"},
};

const KindInfo& info_of(Kind kind) { return *std::ranges::find(kKinds, kind, &KindInfo::kind); }

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

std::string node_name(Kind kind, u64 nth) {
  const NodeNames& n = info_of(kind).node;
  const u64 number = n.first + nth * n.step;
  return n.digits == 0 ? fmt::format("{}{}{}", n.before, number, n.after)
                       : fmt::format("{}{:0{}x}{}", n.before, number, n.digits, n.after);
}

bool share_node_names(Kind a, Kind b) { return info_of(a).node.before == info_of(b).node.before; }

}  // namespace iommufd::iommu

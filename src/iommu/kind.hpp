// SPDX-License-Identifier: BSD-3-Clause
// The kinds of IOMMU that a machine can have.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/types.hpp"

namespace iommufd::iommu {

// kNone is noiommu: a device puts physical addresses on the bus. kMock is the IOMMU of the kernel's selftests (src/selftest).
enum class Kind : u8 { kNone, kAmd, kAmdV2, kVtd, kVtdS1, kRiscV, kSmmuV3, kMock };

// The names in /sys/class/iommu: `before`, the first number and what each next one adds, `after`.
struct NodeNames {
  std::string_view before;
  unsigned digits;  // hexadecimal; 0: decimal
  u64 first, step;
  std::string_view after;
};

struct KindInfo {
  Kind kind;
  std::string_view name;  // of a device specification: "amd"
  NodeNames node;
  std::string_view summary;  // for people
};

// Those that a device can be put behind, kNone last.
std::span<const KindInfo> device_kinds();
std::string_view kind_name(Kind kind);  // "mock" for kMock
// Of device_kinds(), by name.
std::optional<Kind> parse_kind(std::string_view name);
// The nth (from 0) of those that share_node_names(): "ivhd0". Pre: of device_kinds(), and not kNone.
std::string node_name(Kind kind, u64 nth);
// AMD's are numbered together, whatever their tables.
bool share_node_names(Kind a, Kind b);

}  // namespace iommufd::iommu

// SPDX-License-Identifier: BSD-3-Clause
// The kinds of IOMMU that a machine can have.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "base/types.hpp"

namespace iommufd::iommu {

// kNone is noiommu: a device puts physical addresses on the bus. kMock is the IOMMU of the kernel's selftests (src/selftest).
enum class Kind : u8 { kNone, kAmd, kAmdV2, kVtd, kVtdS1, kRiscV, kSmmuV3, kMock };

struct KindInfo {
  Kind kind;
  std::string_view name;  // of a device specification: "amd"
  std::string_view node;  // in /sys/class/iommu; with a number at the end where `numbered`
  bool numbered;
  std::string_view summary;  // for people
};

// Those that a device can be put behind, kNone last.
std::span<const KindInfo> device_kinds();
std::string_view kind_name(Kind kind);  // "mock" for kMock
// Of device_kinds(), by name.
std::optional<Kind> parse_kind(std::string_view name);

}  // namespace iommufd::iommu

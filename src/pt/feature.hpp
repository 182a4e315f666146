// SPDX-License-Identifier: BSD-3-Clause
// Abilities of a page-table format that a table may have or lack. A format says which it supports and which it insists
// on; what is left is decided when a table is made.
#pragma once

#include <initializer_list>

#include "base/types.hpp"

namespace iommufd::pt {

enum class Feature : u32 {
  kDynamicTop = 1u << 0,       // the root grows when an address needs it
  kForceCoherence = 1u << 1,   // every leaf makes the device's accesses snoop the caches
  kForceWriteable = 1u << 2,   // refuse mappings without write access (VT-d erratum 772415)
  kNonCoherentWalk = 1u << 3,  // the walker does not snoop: tables are marked as flushed in a software bit
  kSignExtend = 1u << 4,       // addresses are sign extended: two halves, the upper at the end of the space
};

class Features {
 public:
  constexpr Features() = default;
  constexpr Features(std::initializer_list<Feature> list) {
    for (const Feature f : list) bits_ |= static_cast<u32>(f);
  }
  [[nodiscard]] constexpr bool has(Feature f) const { return (bits_ & static_cast<u32>(f)) != 0; }
  [[nodiscard]] constexpr bool contains(Features o) const { return (o.bits_ & ~bits_) == 0; }
  friend constexpr bool operator==(Features, Features) = default;

 private:
  u32 bits_ = 0;
};

}  // namespace iommufd::pt

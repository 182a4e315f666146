// SPDX-License-Identifier: BSD-3-Clause
// A field of a 64-bit hardware word, named with the bit numbers of its specification (high bit first, as printed).
#pragma once

#include "base/types.hpp"

namespace iommufd {

template <unsigned Hi, unsigned Lo>
struct Bits {
  static_assert(Hi >= Lo && Hi < 64);
  static constexpr unsigned kShift = Lo;
  static constexpr u64 kMax = Hi - Lo == 63 ? ~u64{0} : (u64{1} << (Hi - Lo + 1)) - 1;
  static constexpr u64 kMask = kMax << Lo;
  static constexpr u64 get(u64 word) { return (word >> Lo) & kMax; }
  static constexpr u64 put(u64 value) { return (value & kMax) << Lo; }
};

}  // namespace iommufd

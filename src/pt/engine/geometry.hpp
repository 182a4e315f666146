// SPDX-License-Identifier: BSD-3-Clause
// Arithmetic of the radix tree: which item an address has at a level, what a root of some depth covers, and how a range
// is cut into entries (spec page-table-formats 8.2). Pure functions.
#pragma once

#include <algorithm>
#include <bit>
#include <type_traits>
#include <utility>

#include "pt/format.hpp"

namespace iommufd::pt {

template <PageTableFormat F>
inline constexpr unsigned kTableItems = 1u << F::kIndexBits;

template <PageTableFormat F>
constexpr u64 item_size(unsigned level) {
  return u64{1} << F::item_lg2(level);
}

template <PageTableFormat F>
constexpr unsigned index_of(u64 va, unsigned level) {
  return static_cast<unsigned>(va >> F::item_lg2(level)) & (kTableItems<F> - 1);
}

// The level whose tables hold entries of this size.
template <PageTableFormat F>
constexpr unsigned level_of(unsigned size_lg2) {
  return (size_lg2 - F::kGranuleLg2) / F::kIndexBits;
}

// Address bits that a root at `level` translates.
template <PageTableFormat F>
constexpr unsigned covered_bits(unsigned level, unsigned va_bits) {
  return std::min(va_bits, F::item_lg2(level) + F::kIndexBits);
}

// Calls fn(integral_constant<level>) for a root at `level`.
template <PageTableFormat F, unsigned Level = F::kMinTopLevel, class Fn>
inline auto with_top_level(unsigned level, Fn&& fn) {
  if constexpr (Level < F::kMaxTopLevel) {
    if (level != Level) return with_top_level<F, Level + 1>(level, std::forward<Fn>(fn));
  }
  return fn(std::integral_constant<unsigned, Level>{});
}

enum class Walk : bool { kDown, kEnd };

// Calls fn(integral_constant<level>) for a root at `level`, then for each level below, as long as it returns kDown.
template <PageTableFormat F, class Fn>
inline void down_from(unsigned level, Fn&& fn) {
  const auto enter = [&](auto at) {
    if (at > F::kMinTopLevel && at > level) return Walk::kDown;
    return fn(at);
  };
  [&]<unsigned... Up>(std::integer_sequence<unsigned, Up...>) {
    (void)((enter(std::integral_constant<unsigned, F::kMaxTopLevel - Up>{}) == Walk::kEnd) || ...);
  }(std::make_integer_sequence<unsigned, F::kMaxTopLevel + 1>{});
}

// Whether [va, last] lies in a space of `bits` bits, of which `below` addresses are at the top of the 64 bits: half of them when
// addresses are sign extended, otherwise none. A range that leaves one half for the other wraps in the middle.
constexpr bool in_space(u64 va, u64 last, unsigned bits, u64 below) {
  return va + below <= last + below && (last + below) >> (bits - 1) >> 1 == 0;
}
static_assert(in_space(0, ~u64{0}, 64, 0) && in_space(0, 7, 3, 0) && !in_space(0, 8, 3, 0));
static_assert(in_space(0, 3, 3, 4) && in_space(~u64{3}, ~u64{0}, 3, 4));
static_assert(!in_space(0, 4, 3, 4) && !in_space(~u64{4}, ~u64{0}, 3, 4) && !in_space(3, ~u64{3}, 3, 4));

// Union of the sizes of all leaves that a table can have (spec 2).
template <PageTableFormat F>
constexpr u64 possible_sizes(const TableConfig& config) {
  const bool grows = has_feature<F, Feature::kDynamicTop>(config.features);
  const unsigned top = grows ? F::kMaxTopLevel : config.top_level;
  u64 sizes = 0;
  for (unsigned level = 0; level <= top && F::item_lg2(level) < config.va_bits; ++level) {
    sizes |= F::possible_sizes(level);
  }
  return sizes & ((u64{1} << config.oa_bits) - 1) & config.page_sizes;
}

// Equal entries that follow each other.
struct Run {
  unsigned size_lg2 = 0;
  u64 entries = 0;  // 0: no size fits
};

// How to begin the range [va, va + length) to oa: the largest size of `sizes` that fits, and as many entries of it as
// come before a larger size can be used. Pre: length > 0, va + length - 1 does not wrap.
constexpr Run plan_run(u64 sizes, u64 va, u64 oa, u64 length) {
  // The lowest set bit of all three limits the size; from the length only its highest bit counts.
  const u64 limit = va | oa | std::bit_floor(length);
  const u64 fitting = sizes & (limit ^ (limit - 1));
  if (fitting == 0) return {};
  const unsigned size_lg2 = static_cast<unsigned>(std::bit_width(fitting)) - 1;
  u64 bytes = length;
  const u64 larger = sizes & ~((u64{2} << size_lg2) - 1);
  if (larger != 0) {
    const u64 next = larger & -larger;
    if (((va ^ oa) & (next - 1)) == 0) bytes = std::min(bytes, next - (va & (next - 1)));
  }
  return {size_lg2, bytes >> size_lg2};
}
static_assert(plan_run(0x4020'1000, 0x3fe40'0000, 0x3fe40'0000, 0xc220'0000).entries == 14);
static_assert(plan_run(0x4020'1000, 0x1000, 0x1000, 0x800).entries == 0);

}  // namespace iommufd::pt

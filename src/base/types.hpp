// SPDX-License-Identifier: BSD-3-Clause
// The numbers of the field. Addresses of different spaces are different types without + and -: use
// checked_add() and offset_from(), so that no sum wraps unseen and no IOVA is taken for a physical address.
#pragma once

#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>

namespace iommufd {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s32 = std::int32_t;
using s64 = std::int64_t;

static_assert(std::endian::native == std::endian::little, "wire structs and page tables are little-endian");

inline constexpr unsigned kPageShift = 12;
inline constexpr u64 kPageSize = u64{1} << kPageShift;
inline constexpr u64 kPageMask = kPageSize - 1;

template <class Tag>
class Address {
 public:
  constexpr Address() = default;
  constexpr explicit Address(u64 raw) : raw_(raw) {}
  [[nodiscard]] constexpr u64 raw() const { return raw_; }
  [[nodiscard]] constexpr u64 page_offset() const { return raw_ & kPageMask; }
  [[nodiscard]] constexpr Address page_floor() const { return Address{raw_ & ~kPageMask}; }
  friend constexpr auto operator<=>(Address, Address) = default;

 private:
  u64 raw_ = 0;
};

using Iova = Address<struct IovaTag>;      // what a device behind an IOMMU puts on the bus
using UserVa = Address<struct UserVaTag>;  // address in a client process
using PhysAddr = Address<struct PhysTag>;  // address of the machine's (simulated) physical memory

// a + n, or nothing when it wraps.
template <class Tag>
constexpr std::optional<Address<Tag>> checked_add(Address<Tag> a, u64 n) {
  u64 sum = 0;
  if (__builtin_add_overflow(a.raw(), n, &sum)) return std::nullopt;
  return Address<Tag>{sum};
}

// Pre: the sum does not wrap (the caller has checked the range it walks).
template <class Tag>
constexpr Address<Tag> advance(Address<Tag> a, u64 n) {
  return Address<Tag>{a.raw() + n};
}

// Distance from `base` up to `a`. Pre: a >= base.
template <class Tag>
constexpr u64 offset_from(Address<Tag> a, Address<Tag> base) {
  return a.raw() - base.raw();
}

// Id of an object in a context: 1..0x7FFFFFFF (spec iommufd-core 1.6). Any u32 may be asked for; few exist.
enum class ObjectId : u32 {};

// What a mapping lets a device do, and what a pin or a DMA wants.
enum class Access : u8 {
  kNone = 0,
  kRead = 1,
  kWrite = 2,
  kReadWrite = 3,
  kNoExecute = 4,  // not for instruction fetches: a wish of a mapping, for page tables with such a bit
};
constexpr Access operator|(Access a, Access b) { return static_cast<Access>(static_cast<u8>(a) | static_cast<u8>(b)); }
constexpr Access operator&(Access a, Access b) { return static_cast<Access>(static_cast<u8>(a) & static_cast<u8>(b)); }
constexpr bool allows(Access have, Access want) { return (have & want) == want; }

// Inclusive range of input addresses; start/last because end overflows at 2^64.
struct IovaRange {
  u64 start = 0;
  u64 last = 0;
  friend constexpr bool operator==(const IovaRange&, const IovaRange&) = default;
};

constexpr u64 align_down(u64 v, u64 a) { return v & ~(a - 1); }
constexpr u64 align_up(u64 v, u64 a) { return align_down(v + a - 1, a); }
constexpr bool is_aligned(u64 v, u64 a) { return (v & (a - 1)) == 0; }
// Bits above `bits` become copies of the highest one below. Pre: 0 < bits <= 64.
constexpr u64 sign_extend(u64 v, unsigned bits) {
  return static_cast<u64>(static_cast<s64>(v << (64 - bits)) >> (64 - bits));
}
constexpr u64 div_round_up(u64 v, u64 d) { return v / d + (v % d != 0 ? 1 : 0); }

}  // namespace iommufd

template <class Tag>
struct std::hash<iommufd::Address<Tag>> {
  std::size_t operator()(iommufd::Address<Tag> a) const noexcept { return std::hash<std::uint64_t>{}(a.raw()); }
};

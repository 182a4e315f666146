// SPDX-License-Identifier: BSD-3-Clause
// What a test writes into a block: its number, a version, and noise that both decide, so that a block found anywhere tells
// what was written, and that it was written whole. Versions begin with 1; a block of zeros has version 0.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

namespace stamp {

// SplitMix64.
inline std::uint64_t mix(std::uint64_t x) {
  x += 0x9e37'79b9'7f4a'7c15;
  x = (x ^ x >> 30) * 0xbf58'476d'1ce4'e5b9;
  x = (x ^ x >> 27) * 0x94d0'49bb'1331'11eb;
  return x ^ x >> 31;
}

// The word `i` of a block. Pre: version != 0.
inline std::uint64_t word(std::uint64_t block, std::uint64_t version, std::size_t i) {
  return i == 0 ? version : mix(mix(block) + version * 0x1000 + i);
}

// Pre: a multiple of 8 bytes.
inline void fill(std::span<std::uint8_t> bytes, std::uint64_t block, std::uint64_t version) {
  for (std::size_t i = 0; i < bytes.size() / 8; ++i) {
    const std::uint64_t w = version == 0 ? 0 : word(block, version, i);
    std::memcpy(bytes.data() + i * 8, &w, 8);
  }
}

// The version, or nothing: no write of this block left it like that.
inline std::optional<std::uint64_t> version_of(std::span<const std::uint8_t> bytes, std::uint64_t block) {
  std::uint64_t version = 0;
  std::memcpy(&version, bytes.data(), 8);
  for (std::size_t i = 0; i < bytes.size() / 8; ++i) {
    std::uint64_t w = 0;
    std::memcpy(&w, bytes.data() + i * 8, 8);
    if (w != (version == 0 ? 0 : word(block, version, i))) return std::nullopt;
  }
  return version;
}

}  // namespace stamp

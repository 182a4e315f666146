// SPDX-License-Identifier: BSD-3-Clause
#include "pci/rom.hpp"

#include <algorithm>
#include <string_view>

namespace iommufd::pci {
namespace {

// Header of an image: signature, and where its data structure is. That one: its name, the length of the image in blocks, and
// whether others follow.
constexpr u64 kSignatureSize = 2, kDataPointer = 0x18, kHeaderSize = 0x1a;
constexpr u64 kLength = 0x10, kIndicator = 0x15, kDataSize = 0x18;
constexpr u64 kBlock = 512;
constexpr u8 kLast = 0x80;

u64 word(std::span<const u8> rom, u64 at) { return rom[at] | u64{rom[at + 1]} << 8; }

}  // namespace

u64 rom_image_size(std::span<const u8> rom) {
  constexpr std::string_view kName = "PCIR";
  u64 start = 0;
  while (rom.size() - start >= kHeaderSize && rom[start] == 0x55 && rom[start + kSignatureSize - 1] == 0xaa) {
    const u64 data = start + word(rom, start + kDataPointer);
    if (data + kDataSize > rom.size() || !std::equal(kName.begin(), kName.end(), rom.begin() + static_cast<s64>(data)))
      break;
    const u64 length = word(rom, data + kLength) * kBlock;
    if (length == 0) break;
    start = std::min<u64>(start + length, rom.size());
    if ((rom[data + kIndicator] & kLast) != 0) break;
  }
  return start;
}

}  // namespace iommufd::pci

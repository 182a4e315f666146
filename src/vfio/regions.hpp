// SPDX-License-Identifier: BSD-3-Clause
// The regions of a device file (spec vfio-device 8, 9, 11): which there are, how large, what may be done with them, and
// where an offset of the file lands. No state.
#pragma once

#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"
#include "pci/function.hpp"
#include "vfio/file_memory.hpp"

namespace iommufd::vfio {

// VFIO_PCI_*_REGION_INDEX
inline constexpr u32 kRomRegion = 6, kConfigRegion = 7, kVgaRegion = 8, kRegionCount = 9;

enum class Direction : u8 { kRead, kWrite };

struct RegionInfo {
  bool readable = false;
  bool writable = false;
  bool mappable = false;
  bool msix_mappable = false;  // it is mappable, and the table of MSI-X is in it
  u64 size = 0;
  u64 offset = 0;                          // in the file
  std::vector<pci::BarArea> sparse_areas;  // when not empty, only these may be mapped
};

// GET_REGION_INFO. Errors: kInval (no such index; VGA of a device that is none).
Result<RegionInfo> region_info(const pci::Function& function, u32 index);

// A part of a region.
struct Window {
  u32 region = 0;
  u64 offset = 0;
  u64 count = 0;
};

// What a read or write of `count` > 0 bytes at `position` touches, clipped where the rules clip.
// Errors: kInval, kFault (config space only), kNoMem (an expansion ROM without an image).
Result<Window> locate(const pci::Function& function, u64 position, u64 count, Direction direction);

// May [position, position + length) be mapped? Errors: kInval.
enum class Sharing : u8 { kPrivate, kShared };
Result<void> check_mmap(const pci::Function& function, u64 position, u64 length, Sharing sharing);

// Is a store into what is mapped at `position` an access of its own?
bool traps_stores(const pci::Function& function, u64 position);

}  // namespace iommufd::vfio

// SPDX-License-Identifier: BSD-3-Clause
// The memory behind one open of a VFIO device file, which its client may map: the BARs at their region offsets. Only one
// open of a device can be bound, and only the bound one can be mapped; so the BARs of a device live in the memory of
// the open that is bound (docs/adr: "the bound open is the BAR"). Implemented by the carrier of the calls.
#pragma once

#include "base/result.hpp"
#include "base/sys.hpp"
#include "base/types.hpp"

namespace iommufd::vfio {

class FileMemory {
 public:
  virtual ~FileMemory() = default;
  // Our own shared mapping of [offset, offset + size) of the file; reads as zeros at first.
  virtual Result<sys::Mapping> map(u64 offset, u64 size) = 0;
};

// Region i of a device file starts at this offset. It overrides the 40-bit shift of the VFIO sheet (section 9):
// offsets below 2^44 are never ours, so that calls on other files need no notification.
inline constexpr u64 kRegionBase = u64{1} << 44;
inline constexpr unsigned kRegionShift = 40;
constexpr u64 region_offset(u32 index) { return kRegionBase + (u64{index} << kRegionShift); }
// The region at a file position; numbers past the last one are no region. Programs that compute the kernel's offset themselves
// (DPDK: index << 40) are understood, too, where the call is known to be for a device; memory is only at our offsets.
constexpr u64 region_at(u64 position) {
  return (position < kRegionBase ? position : position - kRegionBase) >> kRegionShift;
}
// How far into its region a position is.
constexpr u64 offset_in_region(u64 position) { return position & ((u64{1} << kRegionShift) - 1); }

}  // namespace iommufd::vfio

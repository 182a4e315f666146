// SPDX-License-Identifier: BSD-3-Clause
#include "vfio/regions.hpp"

#include <algorithm>

#include "base/explain.hpp"

namespace iommufd::vfio {
namespace {

Err bad(const char* field, u64 value, const char* rule, const char* section) {
  return reject(Errno::kInval, {field, value, rule, section});
}

// Region and offset in it.
Result<Window> split(u64 position, const char* section) {
  const u64 index = region_at(position);
  if (index >= kRegionCount) return bad("offset", position, "is in no region of the device", section);
  return Window{static_cast<u32>(index), offset_in_region(position), 0};
}

}  // namespace

Result<RegionInfo> region_info(const pci::Function& function, u32 index) {
  if (index >= kRegionCount) return bad("index", index, "must be a region of the device", "vfio-device 8");
  RegionInfo info;
  info.offset = region_offset(index);
  if (index < pci::kBarCount) {
    const pci::BarSpec& bar = function.spec().bars[index];
    info.size = bar.size;
    info.readable = info.writable = bar.size != 0;
    info.mappable = bar.mappable == pci::Mappable::kYes;
    if (info.mappable) info.sparse_areas = bar.areas;
    info.msix_mappable = info.mappable && function.spec().msix && function.spec().msix->table_bar == index;
  } else if (index == kRomRegion) {
    info.readable = function.rom_image_size() != 0;
    info.size = info.readable ? pci::rom_bar_size(function.spec()) : 0;
  } else if (index == kConfigRegion) {
    info.size = function.config_size();
    info.readable = info.writable = true;
  } else if (index == kVgaRegion) {
    return bad("index", index, "the device is no VGA device", "vfio-device 8");
  }
  return info;
}

Result<Window> locate(const pci::Function& function, u64 position, u64 count, Direction direction) {
  Window window = IOMMUFD_TRY(split(position, "vfio-device 9"));
  window.count = count;
  if (window.region == kConfigRegion) {
    const u64 size = function.config_size();
    if (window.offset >= size || count > size - window.offset) {
      return reject(Errno::kFault, {"offset", window.offset, "must end inside config space", "vfio-device 9"});
    }
    return window;
  }
  if (window.region == kVgaRegion) return bad("offset", position, "the region does not exist", "vfio-device 9");
  const bool rom = window.region == kRomRegion;
  if (rom && direction == Direction::kWrite)
    return bad("offset", position, "the ROM cannot be written", "vfio-device 9");
  const u64 size = rom ? pci::rom_bar_size(function.spec()) : function.spec().bars[window.region].size;
  if (window.offset >= size) return bad("offset", window.offset, "must be inside the BAR", "vfio-device 9");
  if (rom && function.rom_image_size() == 0)
    return reject(Errno::kNoMem, {"offset", position, "the expansion ROM holds no image", "vfio-device 9"});
  window.count = std::min(count, size - window.offset);
  return window;
}

Result<void> check_mmap(const pci::Function& function, u64 position, u64 length, Sharing sharing) {
  const Window window = IOMMUFD_TRY(split(position, "vfio-device 11"));
  if (position < kRegionBase)
    return bad("offset", position, "must be the offset that VFIO_DEVICE_GET_REGION_INFO gave", "vfio-device 8");
  if (sharing == Sharing::kPrivate) return bad("flags", 0, "must be MAP_SHARED", "vfio-device 11");
  if (window.region >= pci::kBarCount) return bad("offset", position, "only BARs can be mapped", "vfio-device 11");
  const pci::BarSpec& bar = function.spec().bars[window.region];
  if (bar.mappable == pci::Mappable::kNo) {
    return bad("offset", position, "this BAR cannot be mapped: its accesses are trapped", "vfio-device 11");
  }
  const u64 size = (bar.size + kPageMask) & ~kPageMask;
  if (window.offset > size || length > size - window.offset) {
    return bad("length", length, "must end inside the BAR", "vfio-device 11");
  }
  if (!bar.areas.empty() && std::ranges::none_of(bar.areas, [&](const pci::BarArea& area) {
        return window.offset >= area.offset && window.offset - area.offset <= area.size &&
               length <= area.size - (window.offset - area.offset);
      })) {
    return bad("offset", position, "must be inside one area of the SPARSE_MMAP capability", "vfio-device 8");
  }
  return {};
}

bool traps_stores(const pci::Function& function, u64 position) {
  const u64 region = region_at(position);
  return region < pci::kBarCount && function.spec().bars[region].stores == pci::MappedStores::kTrapped;
}

}  // namespace iommufd::vfio

// SPDX-License-Identifier: BSD-3-Clause
// VFIO_IOMMU_GET_INFO (spec iommufd-core 6.6): header, then two capabilities. A short buffer gets what fits of it, by a rule
// of its own, and learns in `argsz` how much there is.
#include <algorithm>
#include <cstddef>

#include "abi/vfio_type1.hpp"
#include "ioctl/iommu_vfio_compat.hpp"
#include "ioctl/vfio_argument.hpp"

namespace iommufd::ioctl {
namespace {

using Info = abi::VfioType1Info;

constexpr u32 kAvailAt = sizeof(Info);
constexpr u32 kRangesAt = kAvailAt + ((sizeof(abi::VfioType1DmaAvail) + 7) & ~std::size_t{7});
constexpr u32 kEntriesAt = kRangesAt + sizeof(abi::VfioType1IovaRanges);
// There is no limit on the number of mappings.
constexpr u32 kUnlimited = ~u32{0};

// Sizes below a page are offered as a page; the IOAS may ask for more than the page tables do.
u64 page_sizes(u64 common, u64 alignment) {
  if ((common & kPageMask) != 0) common = (common & ~kPageMask) | kPageSize;
  return std::max(common, alignment);
}

}  // namespace

Result<void> vfio_get_info(core::Context& ctx, Call& call, UserVa arg) {
  ArgumentBytes bytes(call, arg, Info::kMinSize);
  Info info = IOMMUFD_TRY(copy_in_minimum<Info>(bytes, "iommufd-core 6.6 row 1"));
  const core::Use<core::Ioas> ioas = IOMMUFD_TRY(compat_ioas(ctx));
  const u64 room = info.argsz;
  const core::Ioas::Ranges ranges = ioas->iova_ranges();
  const u64 total = kEntriesAt + ranges.gaps.size() * sizeof(abi::VfioIovaRange);
  info.argsz = static_cast<u32>(total);
  info.flags = Info::kPgsizes | Info::kCaps;
  info.iova_pgsizes = page_sizes(ioas->pgsize_bitmap(), ranges.alignment);
  info.cap_offset = room >= total ? kAvailAt : 0;
  IOMMUFD_TRY(copy_out(call, arg, info, std::min<u64>(room, sizeof info)));

  using Avail = abi::VfioType1DmaAvail;
  const Avail avail{{Avail::kId, Avail::kVersion, room >= kRangesAt ? kRangesAt : 0}, kUnlimited};
  if (room >= kAvailAt + sizeof avail) IOMMUFD_TRY(copy_out(call, advance(arg, kAvailAt), avail));
  for (std::size_t i = 0; i < ranges.gaps.size(); ++i) {
    const u64 at = kEntriesAt + i * sizeof(abi::VfioIovaRange);
    if (room < at + sizeof(abi::VfioIovaRange)) return {};
    const abi::VfioIovaRange entry{ranges.gaps[i].start, ranges.gaps[i].last};
    IOMMUFD_TRY(copy_out(call, advance(arg, at), entry));
  }
  using Iovas = abi::VfioType1IovaRanges;
  const Iovas iovas{{Iovas::kId, Iovas::kVersion, 0}, static_cast<u32>(ranges.gaps.size()), 0};
  if (room < total) return {};
  return copy_out(call, advance(arg, kRangesAt), iovas);
}

}  // namespace iommufd::ioctl

// SPDX-License-Identifier: BSD-3-Clause
// VFIO_DEVICE_FEATURE_DMA_BUF (spec vfio-device 16).
#include <vector>

#include "abi/vfio.hpp"
#include "base/explain.hpp"
#include "ioctl/dma_buf_file.hpp"
#include "ioctl/vfio_argument.hpp"
#include "ioctl/vfio_device_file.hpp"

namespace iommufd::ioctl {
namespace {

constexpr const char* kSection = "vfio-device 16, DMA_BUF";
// The kernel copies the array into one allocation, which has at most 4 MiB.
constexpr u32 kMaxRanges = (4U << 20) / sizeof(abi::VfioDmaRange);

Result<std::vector<vfio::BarRange>> read_ranges(Call& call, UserVa at, u32 count) {
  if (count > kMaxRanges) return reject(Errno::kNoMem, {"nr_ranges", count, "are too many", kSection});
  std::vector<abi::VfioDmaRange> wire(count);
  IOMMUFD_TRY(call.memory()->read(at, std::as_writable_bytes(std::span(wire))));
  std::vector<vfio::BarRange> ranges;
  ranges.reserve(count);
  for (const abi::VfioDmaRange& r : wire) ranges.push_back({r.offset, r.length});
  return ranges;
}

}  // namespace

Result<s64> VfioDeviceFile::export_dma_buf(Call& call, Busy& device, UserVa at) {
  abi::VfioDmaBuf cmd{};
  IOMMUFD_TRY(call.memory()->read(at, std::as_writable_bytes(std::span(&cmd, 1))));
  if (cmd.nr_ranges == 0 || cmd.flags != 0)
    return reject(Errno::kInval, {"nr_ranges", cmd.nr_ranges, "must not be 0, and flags must be", kSection});
  if (cmd.region_index >= pci::kBarCount)
    return reject(Errno::kNoDev, {"region_index", cmd.region_index, "must be a BAR", kSection});
  const std::vector<vfio::BarRange> ranges = IOMMUFD_TRY(read_ranges(call, advance(at, sizeof cmd), cmd.nr_ranges));
  Ref<vfio::BarBuffer> buffer = IOMMUFD_TRY(device.export_bar(cmd.region_index, ranges));
  const u64 size = buffer->size();
  const auto count = buffer->has_one_range() ? DmaBufFile::Ranges::kOne : DmaBufFile::Ranges::kSeveral;
  return IOMMUFD_TRY(install_dma_buf(
      call, make_ref<DmaBufFile>(DmaBufFile::Exporter::kVfio, std::move(buffer), size, count), cmd.open_flags));
}

}  // namespace iommufd::ioctl

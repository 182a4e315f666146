// SPDX-License-Identifier: BSD-3-Clause
// GET_INFO, GET_REGION_INFO, GET_IRQ_INFO (spec vfio-device 7, 8, 12).
#include <algorithm>

#include "abi/vfio.hpp"
#include "base/explain.hpp"
#include "ioctl/vfio_argument.hpp"
#include "ioctl/vfio_cap_chain.hpp"
#include "ioctl/vfio_device_file.hpp"

namespace iommufd::ioctl {
namespace {

void add_sparse_mmap(CapChain& chain, const std::vector<pci::BarArea>& areas) {
  std::vector<std::byte> body(sizeof(abi::VfioSparseMmap) + areas.size() * sizeof(abi::VfioSparseMmapArea));
  const abi::VfioSparseMmap head{static_cast<u32>(areas.size()), 0};
  std::memcpy(body.data(), &head, sizeof head);
  std::size_t at = sizeof head;
  for (const pci::BarArea& area : areas) {
    const abi::VfioSparseMmapArea wire{area.offset, area.size};
    std::memcpy(body.data() + at, &wire, sizeof wire);
    at += sizeof wire;
  }
  chain.add(abi::VfioSparseMmap::kId, abi::VfioSparseMmap::kVersion, body);
}

}  // namespace

Result<void> VfioDeviceFile::get_info(Call& call, UserVa arg) {
  ArgumentBytes bytes(call, arg, sizeof(abi::VfioDeviceInfo));
  abi::VfioDeviceInfo info = IOMMUFD_TRY(copy_in_minimum<abi::VfioDeviceInfo>(bytes, "vfio-device 7"));
  info.flags = info.kPci | (file_->function().resettable() ? info.kReset : 0);
  info.num_regions = vfio::kRegionCount;
  info.num_irqs = vfio::kIrqIndexes;
  return copy_out(call, arg, info, std::min<std::size_t>(info.argsz, sizeof info));
}

Result<void> VfioDeviceFile::get_region_info(Call& call, UserVa arg) {
  ArgumentBytes bytes(call, arg, sizeof(abi::VfioRegionInfo));
  abi::VfioRegionInfo info = IOMMUFD_TRY(copy_in_minimum<abi::VfioRegionInfo>(bytes, "vfio-device 8"));
  const vfio::RegionInfo region = IOMMUFD_TRY(vfio::region_info(file_->function(), info.index));
  info.flags =
      (region.readable ? info.kRead : 0) | (region.writable ? info.kWrite : 0) | (region.mappable ? info.kMmap : 0);
  info.size = region.size;
  info.offset = region.offset;
  CapChain chain(sizeof info);
  if (region.msix_mappable) chain.add(abi::VfioMsixMappable::kId, abi::VfioMsixMappable::kVersion, {});
  if (!region.sparse_areas.empty()) add_sparse_mmap(chain, region.sparse_areas);
  return chain.reply(call, arg, info, info.kCaps);
}

Result<void> VfioDeviceFile::get_irq_info(Call& call, UserVa arg) {
  ArgumentBytes bytes(call, arg, sizeof(abi::VfioIrqInfo));
  abi::VfioIrqInfo info = IOMMUFD_TRY(copy_in_minimum<abi::VfioIrqInfo>(bytes, "vfio-device 12"));
  if (info.index >= vfio::kIrqIndexes) {
    return reject(Errno::kInval, {"index", info.index, "must be below 5", "vfio-device 12"});
  }
  const auto index = static_cast<vfio::IrqIndex>(info.index);
  const vfio::IrqInfo irq = file_->device().interrupts().info(index);
  if (index == vfio::IrqIndex::kErr && irq.count == 0) {
    return reject(Errno::kInval, {"index", info.index, "ERR exists on PCI Express only", "vfio-device 12"});
  }
  info.flags = info.kEventfd | (irq.maskable ? info.kMaskable : 0) | (irq.automasked ? info.kAutomasked : 0) |
               (irq.resizable ? 0 : info.kNoResize);
  info.count = irq.count;
  return copy_out(call, arg, info);
}

}  // namespace iommufd::ioctl

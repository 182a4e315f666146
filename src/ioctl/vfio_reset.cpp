// SPDX-License-Identifier: BSD-3-Clause
// GET_PCI_HOT_RESET_INFO and PCI_HOT_RESET (spec vfio-device 14), for devices that were opened by their node.
#include <algorithm>
#include <utility>

#include "abi/vfio.hpp"
#include "base/explain.hpp"
#include "ioctl/vfio_argument.hpp"
#include "ioctl/vfio_device_file.hpp"

namespace iommufd::ioctl {
namespace {

using abi::VfioPciDependentDevice;

VfioPciDependentDevice encode(const vfio::Dependent& d) {
  u32 id = VfioPciDependentDevice::kNotOwned;
  if (d.owner == vfio::Dependent::Owner::kBound) id = std::to_underlying(d.id);
  if (d.owner == vfio::Dependent::Owner::kSameGroup) id = VfioPciDependentDevice::kOwned;
  return {id, d.bdf.domain, d.bdf.bus, d.bdf.devfn()};
}

}  // namespace

Result<void> VfioDeviceFile::get_hot_reset_info(Call& call, Busy& device, UserVa arg) {
  ArgumentBytes bytes(call, arg, sizeof(abi::VfioPciHotResetInfo));
  auto cmd = IOMMUFD_TRY(copy_in_minimum<abi::VfioPciHotResetInfo>(bytes, "vfio-device 14"));
  const std::vector<vfio::Dependent> hit = IOMMUFD_TRY(device.hot_reset_info());
  cmd.flags = 0;
  cmd.count = static_cast<u32>(hit.size());
  if ((cmd.argsz - sizeof cmd) / sizeof(VfioPciDependentDevice) < hit.size()) {
    IOMMUFD_TRY(copy_out(call, arg, cmd));
    return reject(Errno::kNoSpc, {"argsz", cmd.argsz, "must hold all devices", "vfio-device 14"});
  }
  const bool all = std::ranges::none_of(hit, [](const auto& d) { return d.owner == vfio::Dependent::Owner::kOther; });
  cmd.flags = cmd.kDevId | (all ? cmd.kDevIdOwned : 0);
  std::vector<std::byte> out(sizeof cmd + hit.size() * sizeof(VfioPciDependentDevice));
  std::memcpy(out.data(), &cmd, sizeof cmd);
  std::size_t at = sizeof cmd;
  for (const vfio::Dependent& d : hit) {
    const VfioPciDependentDevice wire = encode(d);
    std::memcpy(out.data() + at, &wire, sizeof wire);
    at += sizeof wire;
  }
  return call.memory()->write(arg, out);
}

Result<void> VfioDeviceFile::hot_reset(Call& call, Busy& device, UserVa arg) {
  ArgumentBytes bytes(call, arg, sizeof(abi::VfioPciHotReset));
  const auto cmd = IOMMUFD_TRY(copy_in_minimum<abi::VfioPciHotReset>(bytes, "vfio-device 14"));
  if (cmd.flags != 0) return reject(Errno::kInval, {"flags", cmd.flags, "must be 0", "vfio-device 14"});
  if (cmd.count != 0) {
    return reject(Errno::kInval, {"count", cmd.count, "must be 0 for a device opened by its node", "vfio-device 14"});
  }
  return device.hot_reset();
}

}  // namespace iommufd::ioctl

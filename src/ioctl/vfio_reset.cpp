// SPDX-License-Identifier: BSD-3-Clause
// GET_PCI_HOT_RESET_INFO and PCI_HOT_RESET (spec vfio-device 14). A device that was opened by its node speaks of DEVICE objects,
// one that was opened through its group of groups.
#include <algorithm>
#include <utility>

#include "abi/vfio.hpp"
#include "base/explain.hpp"
#include "ioctl/vfio_argument.hpp"
#include "ioctl/vfio_device_file.hpp"
#include "ioctl/vfio_group_file.hpp"

namespace iommufd::ioctl {
namespace {

using abi::VfioPciDependentDevice;

constexpr const char* kSection = "vfio-device 14";

VfioPciDependentDevice encode_group(const vfio::Dependent& d) {
  return {*d.iommu_group, d.bdf.domain, d.bdf.bus, d.bdf.devfn()};
}

VfioPciDependentDevice encode(const vfio::Dependent& d) {
  u32 id = VfioPciDependentDevice::kNotOwned;
  if (d.owner == vfio::Dependent::Owner::kBound) id = std::to_underlying(d.id);
  if (d.owner == vfio::Dependent::Owner::kSameGroup) id = VfioPciDependentDevice::kOwned;
  return {id, d.bdf.domain, d.bdf.bus, d.bdf.devfn()};
}

// The groups whose descriptors the caller shows. Errors: kBadf, kInval (not a group), kFault.
Result<std::vector<const vfio::Group*>> shown_groups(Call& call, UserVa fds, u32 count) {
  std::vector<s32> numbers(count);
  IOMMUFD_TRY(call.memory()->read(fds, std::as_writable_bytes(std::span(numbers))));
  std::vector<const vfio::Group*> groups;
  for (const s32 fd : numbers) {
    const Ref<File> file = IOMMUFD_TRY(call.resolve(fd));
    VfioGroupFile* group = file ? file->as_vfio_group() : nullptr;
    if (group == nullptr)
      return reject(Errno::kInval, {"group_fds", static_cast<u64>(fd), "must be an open group", kSection});
    groups.push_back(&group->group());
  }
  return groups;
}

}  // namespace

Result<void> VfioDeviceFile::get_hot_reset_info(Call& call, Busy& device, UserVa arg) {
  ArgumentBytes bytes(call, arg, sizeof(abi::VfioPciHotResetInfo));
  auto cmd = IOMMUFD_TRY(copy_in_minimum<abi::VfioPciHotResetInfo>(bytes, kSection));
  const std::vector<vfio::Dependent> hit = IOMMUFD_TRY(device.hot_reset_info());
  const bool by_group = file_->is_in_group();
  if (by_group && std::ranges::any_of(hit, [](const auto& d) { return !d.iommu_group; }))
    return reject(Errno::kPerm, {"fd", 0, "a function on the bus has no group", kSection});
  cmd.flags = 0;
  cmd.count = static_cast<u32>(hit.size());
  if ((cmd.argsz - sizeof cmd) / sizeof(VfioPciDependentDevice) < hit.size()) {
    IOMMUFD_TRY(copy_out(call, arg, cmd));
    return reject(Errno::kNoSpc, {"argsz", cmd.argsz, "must hold all devices", kSection});
  }
  const bool all = std::ranges::none_of(hit, [](const auto& d) { return d.owner == vfio::Dependent::Owner::kOther; });
  if (!by_group) cmd.flags = cmd.kDevId | (all ? cmd.kDevIdOwned : 0);
  std::vector<std::byte> out(sizeof cmd + hit.size() * sizeof(VfioPciDependentDevice));
  std::memcpy(out.data(), &cmd, sizeof cmd);
  std::size_t at = sizeof cmd;
  for (const vfio::Dependent& d : hit) {
    const VfioPciDependentDevice wire = by_group ? encode_group(d) : encode(d);
    std::memcpy(out.data() + at, &wire, sizeof wire);
    at += sizeof wire;
  }
  return call.memory()->write(arg, out);
}

Result<void> VfioDeviceFile::hot_reset(Call& call, Busy& device, UserVa arg) {
  ArgumentBytes bytes(call, arg, sizeof(abi::VfioPciHotReset));
  const auto cmd = IOMMUFD_TRY(copy_in_minimum<abi::VfioPciHotReset>(bytes, kSection));
  if (cmd.flags != 0) return reject(Errno::kInval, {"flags", cmd.flags, "must be 0", kSection});
  if ((cmd.count == 0) == file_->is_in_group())
    return reject(Errno::kInval,
                  {"count", cmd.count,
                   "must be 0 for a device opened by its node, and not 0 for one opened through its group", kSection});
  const std::vector<vfio::Dependent> hit = IOMMUFD_TRY(device.hot_reset_info());
  std::vector<const vfio::Group*> groups;
  if (cmd.count > hit.size())
    return reject(Errno::kInval, {"count", cmd.count, "is more than a reset would hit", kSection});
  if (cmd.count != 0) groups = IOMMUFD_TRY(shown_groups(call, advance(arg, sizeof cmd), cmd.count));
  for (const vfio::Dependent& d : hit) {
    if (!d.group)
      return reject(Errno::kInval,
                    {"devfn", d.bdf.devfn(), "a function on the bus is not bound to vfio-pci", kSection});
    const bool mine = file_->is_in_group() ? std::ranges::find(groups, d.group.get()) != groups.end()
                                           : d.owner != vfio::Dependent::Owner::kOther;
    if (!mine)
      return reject(Errno::kInval, {"devfn", d.bdf.devfn(), "a function on the bus is not the caller's", kSection});
  }
  device.hot_reset(hit);
  return {};
}

}  // namespace iommufd::ioctl

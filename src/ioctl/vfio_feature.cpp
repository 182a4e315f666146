// SPDX-License-Identifier: BSD-3-Clause
// VFIO_DEVICE_FEATURE (spec vfio-device 16). vfio-pci offers low power and dma-bufs; everything else it answers with kNoTty, also
// BUS_MASTER, which only other bus drivers have.
#include "abi/vfio.hpp"
#include "base/explain.hpp"
#include "ioctl/vfio_argument.hpp"
#include "ioctl/vfio_device_file.hpp"

namespace iommufd::ioctl {
namespace {

using abi::VfioFeature;
using abi::VfioFeatureIndex;

Err bad(const char* field, u64 value, const char* rule) {
  return reject(Errno::kInval, {field, value, rule, "vfio-device 16"});
}

enum class Next : u8 { kDone, kRun };  // kDone: it was only a probe

// The part of the protocol that every feature shares, for one that can only be set, or only be got.
Result<Next> check_one_way(const VfioFeature& cmd, u32 way, std::size_t data_size) {
  constexpr u32 kWays = VfioFeature::kGet | VfioFeature::kSet;
  if ((cmd.flags & kWays & ~way) != 0)
    return bad("flags", cmd.flags, way == VfioFeature::kSet ? "the feature can only be set" : "it can only be got");
  if ((cmd.flags & VfioFeature::kProbe) != 0) return Next::kDone;
  if ((cmd.flags & way) == 0) return bad("flags", cmd.flags, "must have GET, SET or PROBE");
  if (cmd.argsz - sizeof cmd < data_size) return bad("argsz", cmd.argsz, "must hold the feature's data");
  return Next::kRun;
}

Result<std::optional<vfio::Eventfd>> read_wakeup(Call& call, UserVa at) {
  abi::VfioLowPowerWakeup entry{};
  IOMMUFD_TRY(call.memory()->read(at, std::as_writable_bytes(std::span(&entry, 1))));
  if (entry.wakeup_eventfd < 0) {
    return bad("wakeup_eventfd", static_cast<u64>(entry.wakeup_eventfd), "must be an eventfd");
  }
  if (entry.reserved != 0) return bad("reserved", entry.reserved, "must be 0");
  return vfio::Eventfd::adopt(IOMMUFD_TRY(call.descriptor(entry.wakeup_eventfd)));
}

}  // namespace

Result<s64> VfioDeviceFile::feature(Call& call, Busy& device, UserVa arg) {
  ArgumentBytes bytes(call, arg, sizeof(VfioFeature));
  const VfioFeature cmd = IOMMUFD_TRY(copy_in_minimum<VfioFeature>(bytes, "vfio-device 16"));
  const u32 modes = cmd.flags & (cmd.kGet | cmd.kSet | cmd.kProbe);
  if ((cmd.flags & ~(cmd.kIndexMask | modes)) != 0) return bad("flags", cmd.flags, "has an unknown bit");
  if (modes == (cmd.kGet | cmd.kSet)) return bad("flags", cmd.flags, "GET and SET go together only with PROBE");

  switch (static_cast<VfioFeatureIndex>(cmd.flags & cmd.kIndexMask)) {
    case VfioFeatureIndex::kLowPowerEntry:
      if (IOMMUFD_TRY(check_one_way(cmd, cmd.kSet, 0)) == Next::kDone) return 0;
      return zero(device.enter_low_power(std::nullopt));
    case VfioFeatureIndex::kLowPowerEntryWithWakeup:
      if (IOMMUFD_TRY(check_one_way(cmd, cmd.kSet, sizeof(abi::VfioLowPowerWakeup))) == Next::kDone) return 0;
      return zero(device.enter_low_power(IOMMUFD_TRY(read_wakeup(call, advance(arg, sizeof cmd)))));
    case VfioFeatureIndex::kLowPowerExit:
      if (IOMMUFD_TRY(check_one_way(cmd, cmd.kSet, 0)) == Next::kDone) return 0;
      device.exit_low_power();
      return 0;
    case VfioFeatureIndex::kDmaBuf:
      if (IOMMUFD_TRY(check_one_way(cmd, cmd.kGet, sizeof(abi::VfioDmaBuf))) == Next::kDone) return 0;
      return export_dma_buf(call, device, advance(arg, sizeof cmd));
    case VfioFeatureIndex::kMigPrecopyInfoV2: return bad("flags", cmd.flags, "the device cannot migrate");
  }
  return reject(Errno::kNoTty, {"flags", cmd.flags, "the device does not have this feature", "vfio-device 16"});
}

}  // namespace iommufd::ioctl

// SPDX-License-Identifier: BSD-3-Clause
// SET_IRQS and IOEVENTFD (spec vfio-device 13 and 15).
#include <bit>

#include "abi/vfio.hpp"
#include "base/explain.hpp"
#include "ioctl/vfio_argument.hpp"
#include "ioctl/vfio_device_file.hpp"

namespace iommufd::ioctl {
namespace {

using abi::VfioIrqSet;

Err bad(const char* field, u64 value, const char* rule) {
  return reject(Errno::kInval, {field, value, rule, "vfio-device 13"});
}

// A client's eventfd, before any lock is taken. A bad one is an error only where the rules come to it.
vfio::IrqEventfd fetch(Call& call, s32 number) {
  vfio::IrqEventfd out;
  out.number = number;
  if (number < 0) return out;
  Result<Fd> fd = call.descriptor(number);
  out.event = fd ? vfio::Eventfd::adopt(std::move(*fd)) : Result<vfio::Eventfd>(Err(fd.error()));
  return out;
}

vfio::IrqAction action_of(u32 flags) {
  switch (flags & VfioIrqSet::kAllActions) {
    case VfioIrqSet::kActionMask: return vfio::IrqAction::kMask;
    case VfioIrqSet::kActionUnmask: return vfio::IrqAction::kUnmask;
    case VfioIrqSet::kActionTrigger: return vfio::IrqAction::kTrigger;
    default: return vfio::IrqAction::kOther;
  }
}

// The data that follows the struct. Pre: count * sizeof(T) bytes are inside argsz.
template <class T>
Result<std::vector<T>> read_data(Call& call, UserVa arg, u32 count) {
  std::vector<T> data(count);
  IOMMUFD_TRY(call.memory()->read(advance(arg, VfioIrqSet::kMinSize), std::as_writable_bytes(std::span(data))));
  return data;
}

}  // namespace

Result<u32> VfioDeviceFile::set_irqs(Call& call, Busy& device, UserVa arg) {
  ArgumentBytes bytes(call, arg, sizeof(VfioIrqSet));
  const VfioIrqSet cmd = IOMMUFD_TRY(copy_in_minimum<VfioIrqSet>(bytes, "vfio-device 13"));
  if (cmd.index >= vfio::kIrqIndexes) return bad("index", cmd.index, "must be below 5");
  if (cmd.count >= ~u32{0} - cmd.start) return bad("count", cmd.count, "start + count wraps");
  if ((cmd.flags & ~(VfioIrqSet::kAllData | VfioIrqSet::kAllActions)) != 0) {
    return bad("flags", cmd.flags, "has an unknown bit");
  }
  const auto index = static_cast<vfio::IrqIndex>(cmd.index);
  const u32 available = file_->device().interrupts().info(index).count;
  if (cmd.start >= available) return bad("start", cmd.start, "is beyond the interrupts of this index");
  if (cmd.start + cmd.count > available) return bad("count", cmd.count, "is beyond the interrupts of this index");

  vfio::IrqRequest request{.index = index, .action = action_of(cmd.flags), .start = cmd.start, .count = cmd.count};
  const u64 room = cmd.argsz - VfioIrqSet::kMinSize;
  switch (cmd.flags & VfioIrqSet::kAllData) {
    case VfioIrqSet::kDataNone: request.data = vfio::IrqData::kNone; break;
    case VfioIrqSet::kDataBool:
      request.data = vfio::IrqData::kBool;
      if (room < cmd.count) return bad("argsz", cmd.argsz, "must hold count bools");
      request.bools = IOMMUFD_TRY(read_data<u8>(call, arg, cmd.count));
      break;
    case VfioIrqSet::kDataEventfd:
      request.data = vfio::IrqData::kEventfd;
      if (room < u64{cmd.count} * sizeof(s32)) return bad("argsz", cmd.argsz, "must hold count descriptors");
      for (const s32 number : IOMMUFD_TRY(read_data<s32>(call, arg, cmd.count))) {
        request.eventfds.push_back(fetch(call, number));
      }
      break;
    default: return bad("flags", cmd.flags, "must have exactly one kind of data");
  }
  return device.set_irqs(std::move(request));
}

Result<void> VfioDeviceFile::set_ioeventfd(Call& call, Busy& device, UserVa arg) {
  ArgumentBytes bytes(call, arg, sizeof(abi::VfioIoeventfd));
  const auto cmd = IOMMUFD_TRY(copy_in_minimum<abi::VfioIoeventfd>(bytes, "vfio-device 15"));
  if ((cmd.flags & ~cmd.kAllWidths) != 0 || std::popcount(cmd.flags) != 1) {
    return reject(Errno::kInval, {"flags", cmd.flags, "must be exactly one width", "vfio-device 15"});
  }
  if (cmd.fd < -1) {
    return reject(Errno::kInval, {"fd", static_cast<u64>(cmd.fd), "must be -1 or an eventfd", "vfio-device 15"});
  }
  return device.set_ioeventfd({.bar = static_cast<u32>(std::min<u64>(vfio::region_at(cmd.offset), vfio::kRegionCount)),
                               .offset = vfio::offset_in_region(cmd.offset),
                               .width = cmd.flags,
                               .data = cmd.data,
                               .event = fetch(call, cmd.fd)});
}

}  // namespace iommufd::ioctl

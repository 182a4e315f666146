// SPDX-License-Identifier: BSD-3-Clause
// Commands on hardware page tables, device information and virtual IOMMUs (spec iommufd-core A).
#include <algorithm>
#include <array>

#include "base/explain.hpp"
#include "core/device.hpp"
#include "core/hwpt.hpp"
#include "core/ioas.hpp"
#include "ioctl/iommu_commands.hpp"
#include "iommu/instance.hpp"

namespace iommufd::ioctl {
namespace {

Result<core::Use<core::Device>> find_device(core::Context& ctx, u32 id) {
  Result<core::Use<core::Device>> device = ctx.get<core::Device>(ObjectId{id});
  if (!device)
    return reject(Errno::kNoEnt,
                  {"dev_id", id, "must be a bound device (out_devid of BIND_IOMMUFD)", "iommufd-core 1.7"});
  return device;
}

// No machine of ours has a vIOMMU, so no id names one.
Err no_viommu(u32 id) { return reject(Errno::kNoEnt, {"viommu_id", id, "must be a vIOMMU", "iommufd-core A.8"}); }

}  // namespace

Result<void> hwpt_alloc(core::Context& ctx, Arguments<abi::HwptAlloc>& a) {
  abi::HwptAlloc& cmd = a.cmd;
  if (cmd.reserved != 0)
    return reject(Errno::kOpNotSupp, {"__reserved", cmd.reserved, "must be 0", "iommufd-core A.1 row 1"});
  if ((cmd.data_type == static_cast<u32>(abi::HwptDataType::kNone)) != (cmd.data_len == 0))
    return reject(Errno::kInval, {"data_len", cmd.data_len, "data_type NONE has no data, every other type has some",
                                  "iommufd-core A.1 row 2"});
  const core::Use<core::Device> device = IOMMUFD_TRY(find_device(ctx, cmd.dev_id));
  Result<core::Use<core::Object>> target = ctx.get_any(ObjectId{cmd.pt_id});
  if (!target) return reject(Errno::kInval, {"pt_id", cmd.pt_id, "no such object", "iommufd-core A.1 row 4"});
  switch ((*target)->type()) {
    case core::ObjectType::kIoas: {
      const core::Use<core::Ioas> ioas = std::move(*target).downcast<core::Ioas>();
      const iommu::UserData data{cmd.data_type, cmd.data_len, [&](std::span<std::byte> to) {
                                   return a.call().memory()->read(UserVa{cmd.data_uptr}, to);
                                 }};
      core::NewObject<core::HwptPaging> hwpt =
          IOMMUFD_TRY(core::HwptPaging::create_manual(*device, *ioas, cmd.flags, data));
      // Fault queues come later: no id names one.
      if ((cmd.flags & abi::HwptAlloc::kFaultIdValid) != 0)
        return reject(Errno::kNoEnt, {"fault_id", cmd.fault_id, "must be a fault queue", "iommufd-core A.1 row 9"});
      cmd.out_hwpt_id = std::to_underlying(hwpt.id());
      IOMMUFD_TRY(a.reply());
      hwpt.publish();
      return {};
    }
    case core::ObjectType::kHwptPaging:
      return reject(Errno::kOpNotSupp,
                    {"pt_id", cmd.pt_id, "the IOMMU of this device has no nested tables", "iommufd-core A.1 row 6a"});
    case core::ObjectType::kDevice:
    case core::ObjectType::kAccess:
    case core::ObjectType::kSelftest: break;
  }
  return reject(Errno::kInval, {"pt_id", cmd.pt_id, "must be an IOAS", "iommufd-core A.1 row 8"});
}

Result<void> get_hw_info(core::Context& ctx, Arguments<abi::HwInfo>& a) {
  abi::HwInfo& cmd = a.cmd;
  if ((cmd.flags & ~abi::HwInfo::kAllFlags) != 0)
    return reject(Errno::kOpNotSupp, {"flags", cmd.flags, "unknown bits", "iommufd-core A.5 row 1"});
  if (std::ranges::any_of(cmd.reserved, [](u8 b) { return b != 0; }))
    return reject(Errno::kOpNotSupp, {"__reserved", 1, "must be 0", "iommufd-core A.5 row 2"});
  const u32 wanted = (cmd.flags & abi::HwInfo::kInputType) != 0 ? cmd.data_type : 0;
  const core::Use<core::Device> device = IOMMUFD_TRY(find_device(ctx, cmd.dev_id));
  if (device->physical().is_noiommu())
    return reject(Errno::kOpNotSupp, {"dev_id", cmd.dev_id, "no IOMMU manages the device", "noiommu 10.4"});
  const iommu::HwInfo info = device->physical().iommu->hw_info();
  if (wanted != 0 && wanted != info.type)
    return reject(Errno::kOpNotSupp, {"in_data_type", wanted, "the IOMMU does not have that type of information",
                                      "iommufd-core A.5 row 4"});

  // The payload, then zeros to the end of the caller's buffer.
  mem::AddressSpace& memory = *a.call().memory();
  const UserVa buffer{cmd.data_uptr};
  const u64 part = std::min<u64>(cmd.data_len, info.payload.size());
  if (part != 0) IOMMUFD_TRY(memory.write(buffer, std::span(info.payload).first(part)));
  static constexpr std::array<std::byte, kPageSize> kZeros{};
  for (u64 at = part; at < cmd.data_len;) {
    const u64 n = std::min<u64>(cmd.data_len - at, kZeros.size());
    IOMMUFD_TRY(memory.write(advance(buffer, at), std::span(kZeros).first(n)));
    at += n;
  }
  cmd.data_len = static_cast<u32>(info.payload.size());
  cmd.data_type = info.type;
  cmd.out_max_pasid_log2 = device->physical().pasid_bits;
  cmd.out_capabilities =
      abi::HwInfo::kCapAtsNotSupported | (device->physical().can_track_dirty() ? abi::HwInfo::kCapDirtyTracking : 0);
  return a.reply();
}

// entry_num is written back as what was done, in every case: nothing here can be invalidated.
Result<void> hwpt_invalidate(core::Context& ctx, Arguments<abi::HwptInvalidate>& a) {
  const auto judge = [&]() -> Result<void> {
    const abi::HwptInvalidate& cmd = a.cmd;
    if (cmd.reserved != 0)
      return reject(Errno::kOpNotSupp, {"__reserved", cmd.reserved, "must be 0", "iommufd-core A.4 row 1"});
    if (cmd.entry_num != 0 && (cmd.data_uptr == 0 || cmd.entry_len == 0))
      return reject(Errno::kInval,
                    {"entry_num", cmd.entry_num, "entries need data_uptr and entry_len", "iommufd-core A.4 row 2"});
    const Result<core::Use<core::Object>> target = ctx.get_any(ObjectId{cmd.hwpt_id});
    if (!target) return reject(Errno::kNoEnt, {"hwpt_id", cmd.hwpt_id, "no such object", "iommufd-core A.4 row 3"});
    return reject(Errno::kInval,
                  {"hwpt_id", cmd.hwpt_id, "must be a nested HWPT or a vIOMMU", "iommufd-core A.4 row 5"});
  };
  const Result<void> verdict = judge();
  a.cmd.entry_num = 0;
  IOMMUFD_TRY(a.reply());
  return verdict;
}

Result<void> viommu_alloc(core::Context& ctx, Arguments<abi::ViommuAlloc>& a) {
  if (a.cmd.flags != 0 || a.cmd.type == static_cast<u32>(abi::ViommuType::kDefault))
    return reject(Errno::kOpNotSupp, {"type", a.cmd.type, "needs a type, and flags must be 0", "iommufd-core A.7"});
  const core::Use<core::Device> device = IOMMUFD_TRY(find_device(ctx, a.cmd.dev_id));
  return reject(Errno::kOpNotSupp,
                {"dev_id", a.cmd.dev_id, "the IOMMU of this device has no virtual instances", "iommufd-core A.7"});
}

Result<void> vdevice_alloc(core::Context&, Arguments<abi::VdeviceAlloc>& a) { return no_viommu(a.cmd.viommu_id); }

Result<void> veventq_alloc(core::Context&, Arguments<abi::VeventqAlloc>& a) {
  if (a.cmd.flags != 0 || a.cmd.reserved != 0 || a.cmd.type == 0)
    return reject(Errno::kOpNotSupp,
                  {"type", a.cmd.type, "needs a type; flags and __reserved must be 0", "iommufd-core A.9"});
  if (a.cmd.veventq_depth == 0) return reject(Errno::kInval, {"veventq_depth", 0, "must not be 0", "iommufd-core A.9"});
  return no_viommu(a.cmd.viommu_id);
}

Result<void> hw_queue_alloc(core::Context&, Arguments<abi::HwQueueAlloc>& a) {
  if (a.cmd.flags != 0 || a.cmd.type == 0)
    return reject(Errno::kOpNotSupp, {"type", a.cmd.type, "needs a type; flags must be 0", "iommufd-core A.10"});
  if (a.cmd.length == 0) return reject(Errno::kInval, {"length", 0, "must not be 0", "iommufd-core A.10"});
  u64 last = 0;
  if (__builtin_add_overflow(a.cmd.nesting_parent_iova, a.cmd.length - 1, &last))
    return reject(Errno::kOverflow,
                  {"length", a.cmd.length, "nesting_parent_iova + length wraps", "iommufd-core A.10"});
  return no_viommu(a.cmd.viommu_id);
}

}  // namespace iommufd::ioctl

// SPDX-License-Identifier: BSD-3-Clause
// Commands on I/O address spaces (spec iommufd-core 3).
#include <fcntl.h>

#include <cstddef>
#include <optional>

#include "base/explain.hpp"
#include "core/ioas.hpp"
#include "ioctl/dma_buf_file.hpp"
#include "ioctl/iommu_commands.hpp"
#include "mem/file_space.hpp"

namespace iommufd::ioctl {
namespace {

constexpr u64 kMax = ~u64{0};

Result<core::Use<core::Ioas>> find_ioas(core::Context& ctx, u32 id, const char* field = "ioas_id") {
  Result<core::Use<core::Ioas>> ioas = ctx.get<core::Ioas>(ObjectId{id});
  if (!ioas) return reject(Errno::kNoEnt, {field, id, "must be an IOAS", "iommufd-core 1.7"});
  return ioas;
}

// Flags of MAP, MAP_FILE and COPY are the same three bits.
Access access_of(u32 flags) {
  return ((flags & abi::IoasMap::kReadable) != 0 ? Access::kRead : Access::kNone) |
         ((flags & abi::IoasMap::kWriteable) != 0 ? Access::kWrite : Access::kNone);
}
core::Placement placement_of(u32 flags) {
  return (flags & abi::IoasMap::kFixedIova) != 0 ? core::Placement::kFixed : core::Placement::kAutomatic;
}

Result<void> check_flags(u32 flags) {
  if ((flags & ~abi::IoasMap::kAllFlags) != 0)
    return reject(Errno::kOpNotSupp, {"flags", flags, "unknown bits", "iommufd-core 3.4 row 1"});
  return {};
}
Result<void> check_has_access(u32 flags) {
  if (access_of(flags) == Access::kNone)
    return reject(Errno::kInval, {"flags", flags, "needs READABLE, WRITEABLE or both", "iommufd-core 3.4 row 3"});
  return {};
}
Result<void> check_below_max(const char* field, u64 value) {
  if (value == kMax)
    return reject(Errno::kOverflow, {field, value, "must be below 2^64 - 1", "iommufd-core 3.4 row 2"});
  return {};
}
Result<void> check_reserved(u32 value) {
  if (value != 0) return reject(Errno::kOpNotSupp, {"__reserved", value, "must be 0", "iommufd-core 2"});
  return {};
}

// MAP_FILE of a dma-buf (3.6, rows a, c and g; the map looks again whether it is revoked).
Result<u64> map_buffer(core::Ioas& ioas, const core::MapRequest& request, const DmaBufFile& buffer, u64 start, u64 last,
                       Call& call) {
  if (last >= buffer.size())
    return reject(Errno::kInval, {"length", request.length, "reaches past the buffer", "iommufd-core 3.6 row a"});
  if (buffer.ranges() != DmaBufFile::Ranges::kOne && !buffer.space()->is_revoked())
    return reject(Errno::kOpNotSupp,
                  {"fd", 0, "the buffer must have one range of addresses", "iommufd-core 3.6 row g"});
  return ioas.map(request, buffer.space(), start, call.process(), mem::ChargeMode::kExempt);
}

}  // namespace

Result<void> ioas_alloc(core::Context& ctx, Arguments<abi::IoasAlloc>& a) {
  if (a.cmd.flags != 0) return reject(Errno::kOpNotSupp, {"flags", a.cmd.flags, "must be 0", "iommufd-core 3.1"});
  core::NewObject<core::Ioas> ioas = IOMMUFD_TRY(core::make_object<core::Ioas>(ctx, ctx.platform()));
  a.cmd.out_ioas_id = std::to_underlying(ioas.id());
  IOMMUFD_TRY(a.reply());
  ioas.publish();
  return {};
}

Result<void> ioas_iova_ranges(core::Context& ctx, Arguments<abi::IoasIovaRanges>& a) {
  IOMMUFD_TRY(check_reserved(a.cmd.reserved));
  const core::Use<core::Ioas> ioas = IOMMUFD_TRY(find_ioas(ctx, a.cmd.ioas_id));
  const core::Ioas::Ranges ranges = ioas->iova_ranges();
  const std::size_t fits = std::min<std::size_t>(a.cmd.num_iovas, ranges.gaps.size());
  for (std::size_t i = 0; i < fits; ++i) {
    const abi::IovaRange slot{ranges.gaps[i].start, ranges.gaps[i].last};
    const UserVa at{a.cmd.allowed_iovas + i * sizeof slot};
    IOMMUFD_TRY(a.call().memory()->write(at, std::as_bytes(std::span(&slot, 1))));
  }
  a.cmd.num_iovas = static_cast<u32>(ranges.gaps.size());
  a.cmd.out_iova_alignment = ranges.alignment;
  IOMMUFD_TRY(a.reply());
  if (ranges.gaps.size() > fits)
    return reject(Errno::kMsgSize, {"num_iovas", fits, "the array is too small: num_iovas now says how many there are",
                                    "iommufd-core 3.2"});
  return {};
}

Result<void> ioas_allow_iovas(core::Context& ctx, Arguments<abi::IoasAllowIovas>& a) {
  IOMMUFD_TRY(check_reserved(a.cmd.reserved));
  const core::Use<core::Ioas> ioas = IOMMUFD_TRY(find_ioas(ctx, a.cmd.ioas_id));
  iova::IntervalMap<std::monostate> ranges;
  for (u32 i = 0; i < a.cmd.num_iovas; ++i) {
    abi::IovaRange slot{};
    const UserVa at{a.cmd.allowed_iovas + u64{i} * sizeof slot};
    IOMMUFD_TRY(a.call().memory()->read(at, std::as_writable_bytes(std::span(&slot, 1))));
    if (slot.start >= slot.last)
      return reject(Errno::kInval,
                    {"allowed_iovas", slot.start, "start must be below last", "iommufd-core 3.3 row 3b"});
    if (ranges.overlaps(slot.start, slot.last))
      return reject(Errno::kInval,
                    {"allowed_iovas", slot.start, "overlaps another element", "iommufd-core 3.3 row 3c"});
    ranges.insert(slot.start, slot.last, {});
  }
  return ioas->allow(std::move(ranges));
}

Result<u64> map_user_memory(core::Context& ctx, Call& call, core::Ioas& ioas, const core::MapRequest& request,
                            u64 user_va) {
  if (!checked_add(UserVa{user_va}, request.length))
    return reject(Errno::kOverflow, {"user_va", user_va, "user_va + length wraps", "iommufd-core 3.4 row 5"});
  return ioas.map(request, call.memory(), user_va, call.process(), ctx.charge_mode(call));
}

// Check order is ABI (3.4).
Result<void> ioas_map(core::Context& ctx, Arguments<abi::IoasMap>& a) {
  abi::IoasMap& cmd = a.cmd;
  IOMMUFD_TRY(check_flags(cmd.flags));
  IOMMUFD_TRY(check_reserved(cmd.reserved));
  IOMMUFD_TRY(check_below_max("iova", cmd.iova));
  IOMMUFD_TRY(check_below_max("length", cmd.length));
  IOMMUFD_TRY(check_has_access(cmd.flags));
  const core::Use<core::Ioas> ioas = IOMMUFD_TRY(find_ioas(ctx, cmd.ioas_id));
  const core::MapRequest request{cmd.iova, cmd.length, placement_of(cmd.flags), access_of(cmd.flags)};
  cmd.iova = IOMMUFD_TRY(map_user_memory(ctx, a.call(), *ioas, request, cmd.user_va));
  return a.reply();  // on kFault the mapping stays
}

Result<void> ioas_map_file(core::Context& ctx, Arguments<abi::IoasMapFile>& a) {
  abi::IoasMapFile& cmd = a.cmd;
  IOMMUFD_TRY(check_flags(cmd.flags));
  IOMMUFD_TRY(check_below_max("iova", cmd.iova));
  IOMMUFD_TRY(check_below_max("length", cmd.length));
  IOMMUFD_TRY(check_has_access(cmd.flags));
  const core::Use<core::Ioas> ioas = IOMMUFD_TRY(find_ioas(ctx, cmd.ioas_id));
  if (cmd.length == 0) return reject(Errno::kInval, {"length", 0, "must not be 0", "iommufd-core 3.6 row 5"});
  u64 last = 0;
  if (__builtin_add_overflow(cmd.start, cmd.length - 1, &last))
    return reject(Errno::kOverflow, {"start", cmd.start, "start + length wraps", "iommufd-core 3.6 row 6"});
  const core::MapRequest request{cmd.iova, cmd.length, placement_of(cmd.flags), access_of(cmd.flags)};
  if (Result<Ref<File>> ours = a.call().resolve(cmd.fd); ours && *ours && (*ours)->as_dma_buf() != nullptr) {
    cmd.iova = IOMMUFD_TRY(map_buffer(*ioas, request, *(*ours)->as_dma_buf(), cmd.start, last, a.call()));
    return a.reply();
  }
  Result<Fd> file = a.call().descriptor(cmd.fd);
  if (!file || (::fcntl(file->get(), F_GETFL) & O_PATH) != 0)
    return reject(Errno::kBadf, {"fd", static_cast<u64>(cmd.fd), "must be an open file", "iommufd-core 3.6 row 8"});
  if (const std::optional<u64> size = mem::dma_buf_size(*file)) {
    if (*size <= last)
      return reject(Errno::kInval, {"start + length", last, "the dma-buf is shorter", "iommufd-core 3.6 row a"});
    return reject(Errno::kOpNotSupp,
                  {"fd", static_cast<u64>(cmd.fd), "a dma-buf must come from a VFIO device", "iommufd-core 3.6 row e"});
  }
  cmd.iova = IOMMUFD_TRY(ioas->map(request, a.call().file_memory(std::move(*file)), cmd.start, a.call().process(),
                                   ctx.charge_mode(a.call())));
  return a.reply();
}

Result<void> ioas_copy(core::Context& ctx, Arguments<abi::IoasCopy>& a) {
  abi::IoasCopy& cmd = a.cmd;
  IOMMUFD_TRY(check_flags(cmd.flags));
  IOMMUFD_TRY(check_below_max("length", cmd.length));
  IOMMUFD_TRY(check_below_max("src_iova", cmd.src_iova));
  IOMMUFD_TRY(check_below_max("dst_iova", cmd.dst_iova));
  IOMMUFD_TRY(check_has_access(cmd.flags));
  std::vector<core::Ioas::Slice> slices;
  {
    const core::Use<core::Ioas> source = IOMMUFD_TRY(find_ioas(ctx, cmd.src_ioas_id, "src_ioas_id"));
    slices = IOMMUFD_TRY(source->slices(cmd.src_iova, cmd.length));
  }
  const core::Use<core::Ioas> target = IOMMUFD_TRY(find_ioas(ctx, cmd.dst_ioas_id, "dst_ioas_id"));
  const core::MapRequest request{cmd.dst_iova, cmd.length, placement_of(cmd.flags), access_of(cmd.flags)};
  cmd.dst_iova = IOMMUFD_TRY(target->map_slices(request, slices));
  return a.reply();
}

Result<void> ioas_unmap(core::Context& ctx, Arguments<abi::IoasUnmap>& a) {
  const core::Use<core::Ioas> ioas = IOMMUFD_TRY(find_ioas(ctx, a.cmd.ioas_id));
  const bool everything = a.cmd.iova == 0 && a.cmd.length == kMax;
  a.cmd.length = IOMMUFD_TRY(everything ? ioas->unmap_all() : ioas->unmap(a.cmd.iova, a.cmd.length));
  return a.reply();
}

Result<void> ioas_change_process(core::Context& ctx, Arguments<abi::IoasChangeProcess>& a) {
  IOMMUFD_TRY(check_reserved(a.cmd.reserved));
  return ctx.change_process(a.call().process());
}

Result<void> ioas_noiommu_get_pa(core::Context& ctx, Arguments<abi::IoasNoiommuGetPa>& a) {
  abi::IoasNoiommuGetPa& cmd = a.cmd;
  if (!a.call().capable(mem::Capability::kSysRawio))
    return reject(Errno::kPerm, {"capability", static_cast<u64>(mem::Capability::kSysRawio),
                                 "needs CAP_SYS_RAWIO (see --caps)", "noiommu 12 row 1"});
  if (cmd.flags != 0 || cmd.reserved != 0)
    return reject(Errno::kOpNotSupp, {"flags", cmd.flags, "flags and __reserved must be 0", "noiommu 12 row 2"});
  if (cmd.length == 0)
    return reject(Errno::kInval,
                  {"length", 0, "is the most bytes wanted: must not be 0 (pass ~0 for no limit)", "noiommu 12 row 3"});
  if (cmd.iova == kMax)
    return reject(Errno::kOverflow, {"iova", cmd.iova, "must be below 2^64 - 1", "noiommu 12 row 4"});
  const core::Use<core::Ioas> ioas = IOMMUFD_TRY(find_ioas(ctx, cmd.ioas_id));
  const core::Ioas::PhysRun run = IOMMUFD_TRY(ioas->noiommu_phys(cmd.iova, cmd.length));
  cmd.length = run.length;
  cmd.out_phys = run.phys.raw();
  return a.reply();
}

Result<void> vfio_ioas(core::Context& ctx, Arguments<abi::VfioIoas>& a) {
  if (a.cmd.reserved != 0) return check_reserved(a.cmd.reserved);
  switch (a.cmd.op) {
    case abi::VfioIoas::kGet: {
      const ObjectId id = ctx.compat_ioas();
      if (id == ObjectId{})
        return reject(Errno::kNoDev, {"op", a.cmd.op, "the context has no compat IOAS", "iommufd-core 3.11"});
      a.cmd.ioas_id = std::to_underlying(id);
      return a.reply();
    }
    case abi::VfioIoas::kSet: {
      const core::Use<core::Ioas> ioas = IOMMUFD_TRY(find_ioas(ctx, a.cmd.ioas_id));
      ctx.set_compat_ioas(ioas->id());
      return {};
    }
    case abi::VfioIoas::kClear: ctx.set_compat_ioas(ObjectId{}); return {};
    default: return reject(Errno::kOpNotSupp, {"op", a.cmd.op, "must be GET, SET or CLEAR", "iommufd-core 3.11"});
  }
}

}  // namespace iommufd::ioctl

// SPDX-License-Identifier: BSD-3-Clause
#include "ioctl/iommu_vfio_compat.hpp"

#include "abi/vfio_type1.hpp"
#include "base/explain.hpp"
#include "ioctl/iommu_commands.hpp"
#include "ioctl/vfio_argument.hpp"

namespace iommufd::ioctl {
namespace {

using abi::VfioContainerCommand;
using abi::VfioExtension;

constexpr bool is_type1(VfioExtension type) {
  return type == VfioExtension::kType1Iommu || type == VfioExtension::kType1v2Iommu;
}

// 6.2. What this build can do does not depend on an IOAS; what its page tables do, does.
Result<s64> check_extension(core::Context& ctx, u64 arg) {
  switch (static_cast<VfioExtension>(arg)) {
    case VfioExtension::kType1Iommu:
    case VfioExtension::kType1v2Iommu:
    case VfioExtension::kUnmapAll: return ctx.is_noiommu_container() ? 0 : 1;
    case VfioExtension::kDmaCcIommu: return IOMMUFD_TRY(compat_ioas(ctx)) ->enforces_coherency() ? 1 : 0;
    case VfioExtension::kNoiommuIommu: return 1;
    case VfioExtension::kUpdateVaddr: break;
  }
  return 0;
}

// 6.3
Result<void> set_iommu(core::Context& ctx, Call& call, u64 arg) {
  const auto type = static_cast<VfioExtension>(arg);
  const bool noiommu = ctx.is_noiommu_container();
  if (type == VfioExtension::kNoiommuIommu && noiommu) {
    if (call.capable(mem::Capability::kSysRawio)) return {};
    return reject(Errno::kPerm, {"capability", static_cast<u64>(mem::Capability::kSysRawio),
                                 "needs CAP_SYS_RAWIO (see --caps)", "iommufd-core 6.3 row 1"});
  }
  if (!is_type1(type) || noiommu)
    return reject(Errno::kInval,
                  {"type", arg, "must be 1 or 3, and not with a group without an IOMMU", "iommufd-core 6.3 row 2"});
  const core::Use<core::Ioas> ioas = IOMMUFD_TRY(compat_ioas(ctx));
  // Version 1 unmaps parts of mappings, so there must be no large entries.
  if (type == VfioExtension::kType1Iommu) return ioas->set_huge_pages(false);
  return {};
}

// 6.4. Neither READ nor WRITE is accepted; only a page table refuses it.
Result<void> map_dma(core::Context& ctx, Call& call, UserVa arg) {
  using Map = abi::VfioType1DmaMap;
  ArgumentBytes bytes(call, arg, sizeof(Map));
  const Map cmd = IOMMUFD_TRY(copy_in_minimum<Map>(bytes, "iommufd-core 6.4 row 2"));
  if ((cmd.flags & ~Map::kAllFlags) != 0)
    return reject(Errno::kInval, {"flags", cmd.flags, "unknown bits", "iommufd-core 6.4 row 2"});
  const core::Use<core::Ioas> ioas = IOMMUFD_TRY(compat_ioas(ctx));
  const Access access = ((cmd.flags & Map::kRead) != 0 ? Access::kRead : Access::kNone) |
                        ((cmd.flags & Map::kWrite) != 0 ? Access::kWrite : Access::kNone);
  const core::MapRequest request{cmd.iova, cmd.size, core::Placement::kFixed, access};
  const Result<u64> mapped = map_user_memory(ctx, call, *ioas, request, cmd.vaddr);
  if (!mapped) return Err(mapped.error());
  return {};
}

// Rows 7 to 10 of 6.5, and how much was unmapped until the error.
Result<void> unmap_part(core::Ioas& ioas, u64 iova, u64 size, u64& unmapped) {
  u64 last = 0;
  if (size == 0) return reject(Errno::kInval, {"size", 0, "must not be 0", "iommufd-core 6.5 row 7"});
  if (__builtin_add_overflow(iova, size - 1, &last))
    return reject(Errno::kOverflow, {"iova", iova, "iova + size wraps", "iommufd-core 6.5 row 8"});
  return ioas.unmap_range(iova, last, unmapped);
}

// 6.5. From row 5 on the struct is written back, also with an error; the cuts of row 6 come before that.
Result<void> unmap_dma(core::Context& ctx, Call& call, UserVa arg) {
  using Unmap = abi::VfioType1DmaUnmap;
  ArgumentBytes bytes(call, arg, sizeof(Unmap));
  Unmap cmd = IOMMUFD_TRY(copy_in_minimum<Unmap>(bytes, "iommufd-core 6.5 row 2"));
  if ((cmd.flags & ~Unmap::kAllFlags) != 0)
    return reject(Errno::kInval, {"flags", cmd.flags, "unknown bits", "iommufd-core 6.5 row 2"});
  const core::Use<core::Ioas> ioas = IOMMUFD_TRY(compat_ioas(ctx));
  u64 unmapped = 0;
  Result<void> verdict;
  if ((cmd.flags & Unmap::kAll) != 0) {
    if (cmd.iova != 0 || cmd.size != 0)
      return reject(Errno::kInval, {"iova", cmd.iova, "iova and size must be 0 with ALL", "iommufd-core 6.5 row 4"});
    verdict = ioas->unmap_range(0, ~u64{0}, unmapped);
  } else {
    if (!ioas->huge_pages()) {
      // The sums wrap as the kernel's do; what is wrong with them is said below. A first cut stays.
      IOMMUFD_TRY(ioas->split_after(cmd.iova + cmd.size - 1));
      if (cmd.iova != 0) IOMMUFD_TRY(ioas->split_after(cmd.iova - 1));
    }
    verdict = unmap_part(*ioas, cmd.iova, cmd.size, unmapped);
  }
  cmd.size = unmapped;
  IOMMUFD_TRY(copy_out(call, arg, cmd));
  return verdict;
}

}  // namespace

Result<core::Use<core::Ioas>> compat_ioas(core::Context& ctx) {
  Result<core::Use<core::Ioas>> ioas = ctx.get<core::Ioas>(ctx.compat_ioas());
  if (!ioas)
    return reject(Errno::kNoDev,
                  {"compat_ioas", 0, "the context has no compat IOAS (IOMMU_VFIO_IOAS)", "iommufd-core 6.1"});
  return ioas;
}

Result<s64> vfio_container_ioctl(core::Context& ctx, Call& call, u32 cmd, u64 arg) {
  switch (static_cast<VfioContainerCommand>(cmd)) {
    case VfioContainerCommand::kGetApiVersion: return abi::kVfioApiVersion;
    case VfioContainerCommand::kCheckExtension: return check_extension(ctx, arg);
    case VfioContainerCommand::kSetIommu: return zero(set_iommu(ctx, call, arg));
    case VfioContainerCommand::kIommuGetInfo: return zero(vfio_get_info(ctx, call, UserVa{arg}));
    case VfioContainerCommand::kIommuMapDma: return zero(map_dma(ctx, call, UserVa{arg}));
    case VfioContainerCommand::kIommuUnmapDma: return zero(unmap_dma(ctx, call, UserVa{arg}));
    case VfioContainerCommand::kIommuDirtyPages: break;
  }
  return reject(Errno::kNoTty, {"command", cmd, "is not a command of /dev/iommu", "iommufd-core 1.3 row 2"});
}

const char* vfio_container_command_name(u32 cmd) {
  switch (static_cast<VfioContainerCommand>(cmd)) {
    case VfioContainerCommand::kGetApiVersion: return "VFIO_GET_API_VERSION";
    case VfioContainerCommand::kCheckExtension: return "VFIO_CHECK_EXTENSION";
    case VfioContainerCommand::kSetIommu: return "VFIO_SET_IOMMU";
    case VfioContainerCommand::kIommuGetInfo: return "VFIO_IOMMU_GET_INFO";
    case VfioContainerCommand::kIommuMapDma: return "VFIO_IOMMU_MAP_DMA";
    case VfioContainerCommand::kIommuUnmapDma: return "VFIO_IOMMU_UNMAP_DMA";
    case VfioContainerCommand::kIommuDirtyPages: return "VFIO_IOMMU_DIRTY_PAGES";
  }
  return nullptr;
}

}  // namespace iommufd::ioctl

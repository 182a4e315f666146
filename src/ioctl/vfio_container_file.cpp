// SPDX-License-Identifier: BSD-3-Clause
#include "ioctl/vfio_container_file.hpp"

#include <algorithm>
#include <bit>
#include <optional>

#include "abi/vfio_type1.hpp"
#include "ioctl/iommu_vfio_compat.hpp"
#include "ioctl/vfio_argument.hpp"
#include "ioctl/vfio_cap_chain.hpp"

namespace iommufd::ioctl {
namespace {

using abi::VfioContainerCommand;

constexpr const char* kSection = "vfio-device 18";
// The largest bitmap that type1 takes: its bits are counted in an int.
constexpr u64 kMaxBitmap = (u64{1} << 31) / 8;

std::optional<vfio::Extension> extension_of(u64 arg) {
  switch (static_cast<abi::VfioExtension>(arg)) {
    case abi::VfioExtension::kType1Iommu: return vfio::Extension::kType1;
    case abi::VfioExtension::kType1v2Iommu: return vfio::Extension::kType1v2;
    case abi::VfioExtension::kDmaCcIommu: return vfio::Extension::kDmaCoherent;
    case abi::VfioExtension::kNoiommuIommu: return vfio::Extension::kNoiommu;
    case abi::VfioExtension::kUnmapAll: return vfio::Extension::kUnmapAll;
    case abi::VfioExtension::kUpdateVaddr: return vfio::Extension::kUpdateVaddr;
  }
  return std::nullopt;
}

vfio::ContainerIommu iommu_of(u64 arg) {
  switch (static_cast<abi::VfioExtension>(arg)) {
    case abi::VfioExtension::kType1Iommu: return vfio::ContainerIommu::kType1;
    case abi::VfioExtension::kType1v2Iommu: return vfio::ContainerIommu::kType1v2;
    case abi::VfioExtension::kNoiommuIommu: return vfio::ContainerIommu::kNoiommu;
    default: return vfio::ContainerIommu::kNone;
  }
}

// The body of a capability: a wire struct without its header.
template <class T>
std::span<const std::byte> body_of(const T& cap) {
  return std::as_bytes(std::span(&cap, 1)).subspan(sizeof(abi::VfioInfoCap));
}

// One bit for each page of [iova, iova + size), set where a range covers it, in whole bytes.
Result<void> put_bitmap(Call& call, const abi::VfioBitmap& bitmap, u64 iova, u64 size,
                        std::span<const IovaRange> ranges) {
  const u64 shift = static_cast<u64>(std::countr_zero(bitmap.pgsize));
  std::vector<std::byte> bits(div_round_up(size >> shift, 8));
  for (const IovaRange& range : ranges) {
    const u64 first = (std::max(range.start, iova) - iova) >> shift;
    const u64 last = (std::min(range.last, iova + (size - 1)) - iova) >> shift;
    for (u64 bit = first; bit <= last; ++bit) bits[bit / 8] |= std::byte{1} << (bit % 8);
  }
  return call.memory()->write(UserVa{bitmap.data}, bits);
}

Result<void> check_bitmap(const abi::VfioBitmap& bitmap, u64 size) {
  if (!std::has_single_bit(bitmap.pgsize))
    return reject(Errno::kInval, {"pgsize", bitmap.pgsize, "must be a power of two", kSection});
  const u64 pages = size >> std::countr_zero(bitmap.pgsize);
  const u64 needed = div_round_up(pages, 64) * 8;
  if (pages == 0 || bitmap.size > kMaxBitmap || bitmap.size < needed)
    return reject(Errno::kInval, {"bitmap.size", bitmap.size, "must hold a bit for each page of the range", kSection});
  return {};
}

}  // namespace

Result<s64> VfioContainerFile::ioctl(Call& call, u32 cmd, u64 arg) {
  switch (static_cast<VfioContainerCommand>(cmd)) {
    case VfioContainerCommand::kGetApiVersion: return abi::kVfioApiVersion;
    case VfioContainerCommand::kCheckExtension: {
      const std::optional<vfio::Extension> extension = extension_of(arg);
      return extension && container_->supports(*extension, noiommu_allowed_()) ? 1 : 0;
    }
    case VfioContainerCommand::kSetIommu: return zero(container_->set_iommu(iommu_of(arg), call, noiommu_allowed_()));
    default: break;
  }
  switch (container_->iommu()) {
    case vfio::ContainerIommu::kNone:
      return reject(Errno::kInval, {"container", 0, "has no IOMMU yet (VFIO_SET_IOMMU)", kSection});
    case vfio::ContainerIommu::kNoiommu: break;
    case vfio::ContainerIommu::kType1:
    case vfio::ContainerIommu::kType1v2: return type1_ioctl(call, cmd, UserVa{arg});
  }
  return reject(Errno::kNoTty, {"cmd", cmd,
                                "is no command of a container without an IOMMU: it maps nothing, the program reads "
                                "physical addresses from /proc/self/pagemap",
                                "noiommu 14"});
}

Result<s64> VfioContainerFile::type1_ioctl(Call& call, u32 cmd, UserVa arg) {
  switch (static_cast<VfioContainerCommand>(cmd)) {
    case VfioContainerCommand::kIommuGetInfo: return zero(get_info(call, arg));
    case VfioContainerCommand::kIommuMapDma: return zero(map_dma(call, arg));
    case VfioContainerCommand::kIommuUnmapDma: return zero(unmap_dma(call, arg));
    case VfioContainerCommand::kIommuDirtyPages: return zero(dirty_pages(call, arg));
    default: return reject(Errno::kNoTty, {"cmd", cmd, "is no command of a container", kSection});
  }
}

Result<void> VfioContainerFile::get_info(Call& call, UserVa arg) {
  using Info = abi::VfioType1Info;
  ArgumentBytes bytes(call, arg, Info::kMinSize);
  Info info = IOMMUFD_TRY(copy_in_minimum<Info>(bytes, kSection));
  const vfio::Container::Info now = IOMMUFD_TRY(container_->info());
  info.flags = Info::kPgsizes;
  info.iova_pgsizes = now.page_sizes;

  CapChain caps(sizeof info);
  using Iovas = abi::VfioType1IovaRanges;
  const Iovas head{{}, static_cast<u32>(now.ranges.size()), 0};
  std::vector<std::byte> ranges(body_of(head).begin(), body_of(head).end());
  for (const IovaRange& range : now.ranges) {
    const abi::VfioIovaRange entry{range.start, range.last};
    const auto raw = std::as_bytes(std::span(&entry, 1));
    ranges.insert(ranges.end(), raw.begin(), raw.end());
  }
  caps.add(Iovas::kId, Iovas::kVersion, ranges);
  using Migration = abi::VfioType1Migration;
  const Migration migration{{}, 0, 0, kPageSize, kMaxBitmap};
  caps.add(Migration::kId, Migration::kVersion, body_of(migration));
  using Avail = abi::VfioType1DmaAvail;
  const Avail avail{{}, now.available};
  caps.add(Avail::kId, Avail::kVersion, body_of(avail));
  return caps.reply(call, arg, info, Info::kCaps);
}

Result<void> VfioContainerFile::map_dma(Call& call, UserVa arg) {
  using Map = abi::VfioType1DmaMap;
  ArgumentBytes bytes(call, arg, sizeof(Map));
  const Map cmd = IOMMUFD_TRY(copy_in_minimum<Map>(bytes, kSection));
  if ((cmd.flags & ~Map::kAllNativeFlags) != 0)
    return reject(Errno::kInval, {"flags", cmd.flags, "unknown bits", kSection});
  const Access access = ((cmd.flags & Map::kRead) != 0 ? Access::kRead : Access::kNone) |
                        ((cmd.flags & Map::kWrite) != 0 ? Access::kWrite : Access::kNone);
  vfio::Container::MapRequest request{cmd.vaddr, cmd.iova, cmd.size, access, (cmd.flags & Map::kVaddr) != 0};
  const Result<void> mapped = container_->map(request, call);
  if (mapped || mapped.error() != Errno::kFault) return mapped;
  // Type1 takes registers as well; iommufd does not.
  request.memory = call.mapped_bar(UserVa{cmd.vaddr}, cmd.size);
  if (!request.memory) return mapped;
  request.vaddr = 0;
  return container_->map(request, call);
}

Result<void> VfioContainerFile::unmap_dma(Call& call, UserVa arg) {
  using Unmap = abi::VfioType1DmaUnmap;
  ArgumentBytes bytes(call, arg, sizeof(Unmap) + sizeof(abi::VfioBitmap));
  Unmap cmd = IOMMUFD_TRY(copy_in_minimum<Unmap>(bytes, kSection));
  const bool all = (cmd.flags & Unmap::kAll) != 0;
  const bool dirty = (cmd.flags & Unmap::kDirtyBitmap) != 0;
  if ((cmd.flags & ~Unmap::kAllNativeFlags) != 0 || (dirty && cmd.flags != Unmap::kDirtyBitmap))
    return reject(Errno::kInval, {"flags", cmd.flags, "unknown bits, or a bitmap with ALL or VADDR", kSection});
  if (all && (cmd.iova != 0 || cmd.size != 0))
    return reject(Errno::kInval, {"iova", cmd.iova, "iova and size must be 0 with ALL", kSection});
  if (dirty) {
    if (cmd.argsz < sizeof(Unmap) + sizeof(abi::VfioBitmap))
      return reject(Errno::kInval, {"argsz", cmd.argsz, "must hold the bitmap's description", kSection});
    struct {
      Unmap cmd;
      abi::VfioBitmap bitmap;
    } whole{};
    IOMMUFD_TRY(bytes.copy(sizeof whole, std::as_writable_bytes(std::span(&whole, 1))));
    IOMMUFD_TRY(check_bitmap(whole.bitmap, cmd.size));
    const std::vector<IovaRange> ranges =
        IOMMUFD_TRY(container_->dirty_ranges(cmd.iova, cmd.size, whole.bitmap.pgsize));
    IOMMUFD_TRY(put_bitmap(call, whole.bitmap, cmd.iova, cmd.size, ranges));
  }
  const auto what =
      (cmd.flags & Unmap::kVaddr) != 0 ? vfio::Container::Unmap::kVaddr : vfio::Container::Unmap::kMappings;
  cmd.size = IOMMUFD_TRY(all ? container_->unmap_all(what) : container_->unmap(cmd.iova, cmd.size, what));
  return copy_out(call, arg, cmd);
}

Result<void> VfioContainerFile::dirty_pages(Call& call, UserVa arg) {
  using Dirty = abi::VfioDirtyPages;
  ArgumentBytes bytes(call, arg, sizeof(Dirty) + sizeof(abi::VfioDirtyBitmapGet));
  const Dirty cmd = IOMMUFD_TRY(copy_in_minimum<Dirty>(bytes, kSection));
  if ((cmd.flags & ~Dirty::kAllFlags) != 0 || !std::has_single_bit(cmd.flags))
    return reject(Errno::kInval, {"flags", cmd.flags, "must be START, STOP or GET_BITMAP", kSection});
  if (cmd.flags != Dirty::kGetBitmap) {
    container_->track_dirty(cmd.flags == Dirty::kStart);
    return {};
  }
  struct {
    Dirty cmd;
    abi::VfioDirtyBitmapGet get;
  } whole{};
  if (cmd.argsz < sizeof whole)
    return reject(Errno::kInval, {"argsz", cmd.argsz, "must hold the range and its bitmap", kSection});
  IOMMUFD_TRY(bytes.copy(sizeof whole, std::as_writable_bytes(std::span(&whole, 1))));
  const abi::VfioDirtyBitmapGet& get = whole.get;
  if (get.iova + get.size < get.iova) return reject(Errno::kInval, {"iova", get.iova, "iova + size wraps", kSection});
  IOMMUFD_TRY(check_bitmap(get.bitmap, get.size));
  const std::vector<IovaRange> ranges = IOMMUFD_TRY(container_->dirty_ranges(get.iova, get.size, get.bitmap.pgsize));
  return put_bitmap(call, get.bitmap, get.iova, get.size, ranges);
}

Result<u64> VfioContainerFile::read(Call&, u64, UserVa, u64) { return Err(Errno::kInval); }
Result<u64> VfioContainerFile::write(Call&, u64, UserVa, u64) { return Err(Errno::kInval); }
Result<void> VfioContainerFile::mmap(Call&, const MmapRequest&) { return Err(Errno::kNoDev); }

const char* VfioContainerFile::command_name(u32 cmd) const { return vfio_container_command_name(cmd); }

}  // namespace iommufd::ioctl

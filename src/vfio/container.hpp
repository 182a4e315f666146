// SPDX-License-Identifier: BSD-3-Clause
// A native VFIO container: an open of /dev/vfio/vfio on a kernel whose containers are not iommufd's (spec vfio-device 18,
// noiommu 14). Groups enter it, then it takes one type of IOMMU: type1 in either version for groups behind an IOMMU, noiommu for
// groups without one. The last group that leaves takes the IOMMU with it.
//
// The DMA of type1 is the engine's: a context of the container's own with one IOAS, to which the devices of all groups are
// attached. What type1 has of its own is here: mappings that are unmapped whole, their limit, two versions of unmap, addresses
// that can be taken back and given anew, dirty pages.
//
// Lock: mu_ (kVfioContainer), held by every operation; inside it the engine's.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <vector>

#include "base/ref.hpp"
#include "base/result.hpp"
#include "base/sync.hpp"
#include "core/context.hpp"
#include "core/device.hpp"
#include "core/ioas.hpp"
#include "mem/caller.hpp"

namespace iommufd::vfio {

class Group;

enum class ContainerIommu : u8 { kNone, kType1, kType1v2, kNoiommu };
// What VFIO_CHECK_EXTENSION asks for.
enum class Extension : u8 { kType1, kType1v2, kNoiommu, kDmaCoherent, kUnmapAll, kUpdateVaddr };

class Container final : public RefCounted {
 public:
  // Mappings that a container can have at once (dma_entry_limit of the kernel's module).
  static constexpr u32 kMaxMappings = 65535;

  explicit Container(iommu::Platform& platform) : ctx_(make_ref<core::Context>(platform, core::LimitMode::kProcess)) {}
  ~Container() override;

  // VFIO_CHECK_EXTENSION: what `noiommu_allowed`, the module parameter, and the groups inside allow.
  [[nodiscard]] bool supports(Extension extension, bool noiommu_allowed) IOMMUFD_EXCLUDES(mu_);
  // kNone: a type that there is not. Errors: kInval (no group, or set already), kNoDev (no such type, or not for these groups),
  // kPerm (noiommu without CAP_SYS_RAWIO), and those of an attach.
  Result<void> set_iommu(ContainerIommu type, mem::Caller& caller, bool noiommu_allowed) IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] ContainerIommu iommu() IOMMUFD_EXCLUDES(mu_);

  struct Info {
    u64 page_sizes = 0;
    std::vector<IovaRange> ranges;
    u32 available = 0;  // mappings that still fit
  };
  // For the operations of type1, Pre: iommu() is kType1 or kType1v2 (kInval otherwise: the last group left meanwhile).
  Result<Info> info() IOMMUFD_EXCLUDES(mu_);

  struct MapRequest {
    u64 vaddr = 0;
    u64 iova = 0;
    u64 size = 0;
    Access access = Access::kNone;
    bool new_vaddr = false;  // VFIO_DMA_MAP_FLAG_VADDR: gives an address to a mapping that has lost its own
    Ref<mem::AddressSpace> memory = nullptr;  // what `vaddr` is in; null: the caller's
  };
  // Errors, in this order: kInval (size, access), kOverflow, kInval (alignment), kNoEnt (VADDR), kExist, kNoSpc, kInval (an IOVA
  // that no device can use), and those of pinning: kFault, kNoMem.
  Result<void> map(const MapRequest& request, mem::Caller& caller) IOMMUFD_EXCLUDES(mu_);

  enum class Unmap : u8 { kMappings, kVaddr };
  // Unmaps the whole mappings of a range and returns their bytes: in version 2 the range may cut none (kInval), in version 1 those
  // that begin in it go, whatever their end. kVaddr only takes their addresses. Nothing there is a success.
  Result<u64> unmap(u64 iova, u64 size, Unmap what) IOMMUFD_EXCLUDES(mu_);
  Result<u64> unmap_all(Unmap what) IOMMUFD_EXCLUDES(mu_);

  // Dirty pages. Nothing tells type1 what a device wrote: while tracking is on, every mapped page is dirty.
  void track_dirty(bool on) IOMMUFD_EXCLUDES(mu_);
  // Visits the mapped parts of a range, in rising order. Errors: kInval (not tracking, page size not the smallest, an unaligned
  // range, or one that cuts a mapping), kOverflow.
  Result<std::vector<IovaRange>> dirty_ranges(u64 iova, u64 size, u64 page_size) IOMMUFD_EXCLUDES(mu_);

  // By Group, with its lock held. Errors: kPerm (a group of the other kind is inside), kPerm, kBusy (its DMA is somebody's),
  // kInval (its devices cannot use what is mapped).
  Result<void> add(Group& group) IOMMUFD_EXCLUDES(mu_);
  void remove(Group& group) IOMMUFD_EXCLUDES(mu_);

 private:
  struct Mapping {
    u64 size = 0;
    bool vaddr_lost = false;
  };
  struct Member {
    Group* group = nullptr;
    std::vector<Ref<core::Device>> devices;  // bound and attached, with type1
  };
  [[nodiscard]] bool is_type1_locked() const IOMMUFD_REQUIRES(mu_) {
    return iommu_ == ContainerIommu::kType1 || iommu_ == ContainerIommu::kType1v2;
  }
  [[nodiscard]] bool holds_noiommu_locked() const IOMMUFD_REQUIRES(mu_);
  Result<void> check_type1_locked() const IOMMUFD_REQUIRES(mu_);
  Result<void> attach_locked(Member& member) IOMMUFD_REQUIRES(mu_);
  static void detach(Member& member);
  Result<void> make_ioas_locked(ContainerIommu type) IOMMUFD_REQUIRES(mu_);
  void drop_iommu_locked() IOMMUFD_REQUIRES(mu_);
  using Mappings = std::map<u64, Mapping>;
  Result<u64> unmap_locked(Mappings::iterator from, u64 last, Unmap what) IOMMUFD_REQUIRES(mu_);
  [[nodiscard]] Mappings::iterator find_locked(u64 iova, u64 last) IOMMUFD_REQUIRES(mu_);
  // Whether the range [iova, last] cuts no mapping at its ends.
  [[nodiscard]] bool is_whole_locked(u64 iova, u64 last) IOMMUFD_REQUIRES(mu_);

  const Ref<core::Context> ctx_;
  Mutex mu_{LockRank::kVfioContainer};
  ContainerIommu iommu_ IOMMUFD_GUARDED_BY(mu_) = ContainerIommu::kNone;
  std::vector<Member> members_ IOMMUFD_GUARDED_BY(mu_);
  core::Use<core::Ioas> ioas_ IOMMUFD_GUARDED_BY(mu_);
  Mappings mappings_ IOMMUFD_GUARDED_BY(mu_);  // by IOVA
  bool tracking_ IOMMUFD_GUARDED_BY(mu_) = false;
};

}  // namespace iommufd::vfio

// SPDX-License-Identifier: BSD-3-Clause
// An I/O address space: which IOVAs are mapped to which pages, in every domain at once (spec iommufd-core 3, 4).
//
// Invariants
// * Every finished area is mapped in every domain, and its pages are pinned exactly while there is a domain or an access
//   has pinned them.
// * An area that is being built or torn down is `busy`: it occupies its IOVA, nobody else touches it (spec 3.12).
// * An area that an access has pinned stays: UNMAP asks the accesses to unpin it first, and nobody else pins it meanwhile.
// * alignment_ is the largest that a domain, a pinning access, or "huge pages off" asks for; 1 when nothing does.
//
// Locks, outermost first: hwpt_mu_ (kHwptList) the HWPTs; then, the group's lock in between; domains_mu_ (kDomains) the
// domains: map, unmap and copy hold it shared, adding and removing a domain exclusively; iova_mu_ (kIova) the areas and
// ranges. Pages and page tables come below.
#pragma once

#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "base/ref.hpp"
#include "base/result.hpp"
#include "base/sync.hpp"
#include "core/context.hpp"
#include "core/hwpt.hpp"
#include "iova/interval_map.hpp"
#include "iova/reserved.hpp"
#include "mem/pages.hpp"
#include "mem/revocable_space.hpp"

namespace iommufd::core {

class IoasAccess;

// An IOVA that the caller fixed, or one that the IOAS chooses.
enum class Placement : u8 { kAutomatic, kFixed };

struct MapRequest {
  u64 iova = 0;  // kFixed only
  u64 length = 0;
  Placement placement = Placement::kAutomatic;
  Access access = Access::kNone;
};

class Ioas final : public Object, private mem::RevocableSpace::Mapper {
 public:
  static constexpr ObjectType kType = ObjectType::kIoas;

  explicit Ioas(iommu::Platform& platform) : Object(kType), platform_(platform) {}

  // Maps [start, start + length) of `space` (user addresses, or offsets of a file). Returns the IOVA.
  // Errors: spec 3.4 rows 5 to 11, in that order.
  Result<u64> map(const MapRequest& request, Ref<mem::AddressSpace> space, u64 start, Ref<mem::Process> process,
                  mem::ChargeMode mode) IOMMUFD_EXCLUDES(domains_mu_, iova_mu_);

  // A slice of somebody's pages: what COPY takes from its source.
  struct Slice {
    Ref<mem::Pages> pages;
    u64 offset = 0;  // byte offset from the first page's start
    u64 length = 0;
  };
  // The slices behind [iova, iova + length). Errors: spec 3.7 rows 5 to 7.
  Result<std::vector<Slice>> slices(u64 iova, u64 length) IOMMUFD_EXCLUDES(iova_mu_);
  // Maps slices one after the other. Errors: spec 3.7 rows 9 to 14.
  Result<u64> map_slices(const MapRequest& request, std::span<const Slice> slices)
      IOMMUFD_EXCLUDES(domains_mu_, iova_mu_);

  // Unmaps every area inside the range; returns the bytes. Errors: spec 3.8 rows 3 to 7 (also after a part was done).
  Result<u64> unmap(u64 iova, u64 length) IOMMUFD_EXCLUDES(domains_mu_, iova_mu_);
  Result<u64> unmap_all() IOMMUFD_EXCLUDES(domains_mu_, iova_mu_);
  // The loop of 3.8 alone, for VFIO: `bytes` is what was unmapped, after an error too. Nothing there is a success.
  Result<void> unmap_range(u64 start, u64 last, u64& bytes) IOMMUFD_EXCLUDES(domains_mu_, iova_mu_);

  // Makes `last` the last byte of a mapping, when it is inside one: for VFIO type1 (spec 4.7). Errors: kBusy, kInval.
  Result<void> split_after(u64 last) IOMMUFD_EXCLUDES(domains_mu_, iova_mu_);

  struct Ranges {
    std::vector<IovaRange> gaps;
    u64 alignment = 1;
  };
  [[nodiscard]] Ranges iova_ranges() IOMMUFD_EXCLUDES(iova_mu_);
  // Page sizes that every domain has, one bit each; all bits when there is none.
  [[nodiscard]] u64 pgsize_bitmap() IOMMUFD_EXCLUDES(domains_mu_);
  // Every domain makes devices snoop the caches; true when there is none.
  [[nodiscard]] bool enforces_coherency() IOMMUFD_EXCLUDES(domains_mu_);
  // Replaces the allowed list. Errors: kAddrInUse. Pre: the ranges are disjoint, start < last.
  Result<void> allow(iova::IntervalMap<std::monostate> ranges) IOMMUFD_EXCLUDES(iova_mu_);

  // The pages of every finished mapping. Errors: kInval when one is not of a plain file (spec 3.10 row 3).
  Result<void> collect_file_pages(std::vector<Ref<mem::Pages>>& out) IOMMUFD_EXCLUDES(iova_mu_);

  // IOMMU_IOAS_NOIOMMU_GET_PA (noiommu.md 12), rows 6 to 8. Pre: max_length != 0.
  struct PhysRun {
    PhysAddr phys;
    u64 length = 0;
  };
  Result<PhysRun> noiommu_phys(u64 iova, u64 max_length) IOMMUFD_EXCLUDES(domains_mu_, iova_mu_);

  // IOMMU_HWPT_SET_DIRTY_TRACKING on `domain`, one of this IOAS (spec A.2): switching it on forgets what was dirty.
  // Pre: domain.can_track_dirty().
  void set_dirty_tracking(iommu::Domain& domain, iommu::DirtyTracking tracking) IOMMUFD_EXCLUDES(domains_mu_, iova_mu_);
  // Reports what devices wrote through `domain` in [start, last], up to the first byte that no area maps (spec A.3).
  // `sink` is called with locks held.
  enum class Walk : u8 { kComplete, kHole };
  Walk read_dirty(iommu::Domain& domain, u64 start, u64 last, pt::DirtyMode mode, pt::DirtySink& sink)
      IOMMUFD_EXCLUDES(domains_mu_, iova_mu_);

  // IOMMU_OPTION_HUGE_PAGES (spec 3.9).
  [[nodiscard]] bool huge_pages() IOMMUFD_EXCLUDES(domains_mu_, iova_mu_);
  Result<void> set_huge_pages(bool on) IOMMUFD_EXCLUDES(domains_mu_, iova_mu_);

  // Device reserved regions (spec 4.8): all or none. Errors: kAddrInUse.
  Result<void> reserve(const std::vector<IovaRange>& ranges, const void* owner) IOMMUFD_EXCLUDES(iova_mu_);
  void unreserve(const void* owner) IOMMUFD_EXCLUDES(iova_mu_);

  // Attach by IOAS id (spec 5.6): the automatic HWPT that takes the device, or a new one.
  Result<ObjectId> attach_auto(Context& ctx, Device& device, Pasid pasid) IOMMUFD_EXCLUDES(hwpt_mu_);
  Result<ObjectId> replace_auto(Context& ctx, Device& device, Pasid pasid, std::vector<Use<HwptPaging>>& old)
      IOMMUFD_EXCLUDES(hwpt_mu_);
  // Lists `hwpt` and fills its domain. Errors: spec 4.9.
  Result<void> add_hwpt(HwptPaging& hwpt) IOMMUFD_EXCLUDES(hwpt_mu_);
  void remove_hwpt(HwptPaging& hwpt) IOMMUFD_EXCLUDES(hwpt_mu_);

  // Adds a snapshot of each HWPT, without its devices. Errors: kBusy (until the deadline).
  Result<void> snapshot(Deadline deadline, std::vector<HwptSnapshot>& out) IOMMUFD_EXCLUDES(hwpt_mu_, domains_mu_);

  // For IoasAccess (access.hpp, spec 4.6). The access holds a use of the IOAS while it is added.
  // Errors: kBusy (too many), kAddrInUse (alignment).
  Result<void> add_access(IoasAccess& access) IOMMUFD_EXCLUDES(domains_mu_, iova_mu_);
  void remove_access(IoasAccess& access) IOMMUFD_EXCLUDES(domains_mu_, iova_mu_);
  // Where the nth mapping begins, in rising order, for fuzzers (selftest-abi 3.20).
  [[nodiscard]] std::optional<u64> nth_area(u32 nth) IOMMUFD_EXCLUDES(iova_mu_);
  // The last address of a range. Errors: kInval (length 0), kOverflow.
  static Result<u64> check_access_range(u64 iova, u64 length);
  Result<void> pin_access(u64 iova, u64 last, Access want, std::vector<PhysAddr>& frames) IOMMUFD_EXCLUDES(iova_mu_);
  void unpin_access(u64 iova, u64 last) IOMMUFD_EXCLUDES(iova_mu_);
  Result<void> read(u64 iova, std::span<std::byte> buf, mem::AddressSpace* caller) IOMMUFD_EXCLUDES(iova_mu_);
  Result<void> write(u64 iova, std::span<const std::byte> buf, mem::AddressSpace* caller) IOMMUFD_EXCLUDES(iova_mu_);

 private:
  struct Area {
    Ref<mem::Pages> pages;
    u64 offset = 0;  // of the first byte, from the start of the first page of `pages`
    Access access = Access::kNone;
    bool busy = true;
    bool no_access = false;  // being unmapped: accesses may not use it any more
    bool revoked = false;    // its memory was taken back: no domain maps it
    u32 pins = 0;            // by accesses
  };
  using Areas = iova::IntervalMap<Area>;
  // What an unmap took out and gives back after the DMA barrier.
  struct Teardown;

  ~Ioas() override = default;
  void teardown() override;

  void revoke(const mem::RevocableSpace& space) override IOMMUFD_EXCLUDES(domains_mu_, iova_mu_);
  // Enters an area, or takes one out, and tells memory that can be taken back.
  void insert_area_locked(u64 start, u64 last, Area area) IOMMUFD_REQUIRES(iova_mu_);
  void erase_area_locked(Areas::iterator at) IOMMUFD_REQUIRES(iova_mu_);
  Result<u64> place_locked(const MapRequest& request, u64 hint) IOMMUFD_REQUIRES(iova_mu_);
  Result<void> fill_area(u64 start, u64 last, const Area& area, iommu::Domain& domain, pt::Gather& gather)
      IOMMUFD_REQUIRES_SHARED(domains_mu_);
  void clear_area(u64 start, u64 last, iommu::Domain& domain, pt::Gather& gather);
  // Pins the pages of an area for domains. Errors: those of Pages::pin().
  static Result<void> pin_area(u64 start, u64 last, const Area& area);
  Result<void> fill_domains_locked(u64 start, u64 last, const Area& area) IOMMUFD_REQUIRES_SHARED(domains_mu_);
  void tear_down_area_locked(u64 start, u64 last, const Area& area, Teardown& teardown)
      IOMMUFD_REQUIRES_SHARED(domains_mu_);
  struct UnmapWalk {
    u64 start;
    u64 last;
    u64 from;    // what is below is done
    u64& bytes;  // unmapped
  };
  // Unmaps up to the end, or to an area that accesses have pinned: that one.
  Result<std::optional<IovaRange>> unmap_unpinned(UnmapWalk& walk) IOMMUFD_EXCLUDES(domains_mu_, iova_mu_);

  class Flight;
  enum class AccessUse : u8 { kPin, kCopy };
  struct AccessPiece {
    Ref<mem::Pages> pages;
    u64 offset = 0;
    u64 length = 0;
  };
  Result<AccessPiece> piece_locked(u64 at, u64 last, Access want, AccessUse use) IOMMUFD_REQUIRES(iova_mu_);
  void release_pin(u64 iova) IOMMUFD_EXCLUDES(iova_mu_);
  template <class Byte, class Copy>
  Result<void> copy_access(u64 iova, std::span<Byte> buf, Access want, Copy&& copy) IOMMUFD_EXCLUDES(iova_mu_);
  void await_flights_locked(u64 start, u64 last) IOMMUFD_REQUIRES(iova_mu_);
  void notify_accesses(u64 start, u64 last) IOMMUFD_EXCLUDES(domains_mu_, iova_mu_);

  Result<ObjectId> attach_new_locked(Context& ctx, Device& device, Pasid pasid) IOMMUFD_REQUIRES(hwpt_mu_);
  Result<void> add_hwpt_locked(HwptPaging& hwpt) IOMMUFD_REQUIRES(hwpt_mu_);
  Result<void> add_domain(iommu::Domain& domain) IOMMUFD_EXCLUDES(domains_mu_, iova_mu_);
  void remove_domain(iommu::Domain& domain) IOMMUFD_EXCLUDES(domains_mu_, iova_mu_);
  Result<void> raise_alignment_locked(u64 alignment) IOMMUFD_REQUIRES(domains_mu_, iova_mu_);
  [[nodiscard]] u64 wanted_alignment_locked() const IOMMUFD_REQUIRES_SHARED(domains_mu_) IOMMUFD_REQUIRES(iova_mu_);

  iommu::Platform& platform_;

  Mutex hwpt_mu_{LockRank::kHwptList};
  std::vector<HwptPaging*> hwpts_ IOMMUFD_GUARDED_BY(hwpt_mu_);  // in creation order

  SharedMutex domains_mu_{LockRank::kDomains};
  std::vector<iommu::Domain*> domains_ IOMMUFD_GUARDED_BY(domains_mu_);  // [0] is the storage domain
  bool huge_pages_ IOMMUFD_GUARDED_BY(domains_mu_) = true;

  Mutex iova_mu_{LockRank::kIova};
  Areas areas_ IOMMUFD_GUARDED_BY(iova_mu_);
  iova::ReservedRanges reserved_ IOMMUFD_GUARDED_BY(iova_mu_);
  iova::IntervalMap<std::monostate> allowed_ IOMMUFD_GUARDED_BY(iova_mu_);
  u64 alignment_ IOMMUFD_GUARDED_BY(iova_mu_) = 1;
  std::vector<IoasAccess*> accesses_ IOMMUFD_GUARDED_BY(iova_mu_);
  std::vector<const IovaRange*> in_flight_ IOMMUFD_GUARDED_BY(iova_mu_);  // pins and copies of accesses, now
  CondVar landed_;                                                        // one of them ended
};

}  // namespace iommufd::core

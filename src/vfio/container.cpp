// SPDX-License-Identifier: BSD-3-Clause
#include "vfio/container.hpp"

#include <algorithm>
#include <utility>

#include "base/assert.hpp"
#include "base/explain.hpp"
#include "base/rollback.hpp"
#include "vfio/group.hpp"

namespace iommufd::vfio {
namespace {

constexpr const char* kSection = "vfio-device 18";

// The smallest page of every table that an IOMMU of ours makes.
constexpr u64 kSmallest = kPageSize;

// Type1 has fewer errors than an attach to an iommufd.
Errno type1_error(Errno e) { return e == Errno::kAddrInUse ? Errno::kInval : e; }

}  // namespace

Container::~Container() { IOMMUFD_ASSERT(members_.empty()); }

bool Container::holds_noiommu_locked() const { return !members_.empty() && members_.front().group->is_noiommu(); }

// Before a type is set every driver is asked that could serve the groups; afterwards only the one that was chosen.
bool Container::supports(Extension extension, bool noiommu_allowed) {
  const MutexLock lock(mu_);
  const bool chosen = iommu_ != ContainerIommu::kNone;
  const bool noiommu =
      chosen ? iommu_ == ContainerIommu::kNoiommu : noiommu_allowed && (members_.empty() || holds_noiommu_locked());
  const bool type1 = chosen ? is_type1_locked() : !holds_noiommu_locked();
  switch (extension) {
    case Extension::kNoiommu: return noiommu;
    case Extension::kType1:
    case Extension::kType1v2:
    case Extension::kUnmapAll: return type1;
    case Extension::kDmaCoherent: return chosen && type1 && ioas_->enforces_coherency();
    case Extension::kUpdateVaddr: return chosen && type1;
  }
  return false;
}

ContainerIommu Container::iommu() {
  const MutexLock lock(mu_);
  return iommu_;
}

Result<void> Container::check_type1_locked() const {
  if (is_type1_locked()) return {};
  return reject(Errno::kInval, {"container", 0, "has no type1 IOMMU (VFIO_SET_IOMMU)", kSection});
}

Result<void> Container::set_iommu(ContainerIommu type, mem::Caller& caller, bool noiommu_allowed) {
  const bool noiommu = type == ContainerIommu::kNoiommu;
  const bool rawio = !noiommu || caller.capable(mem::Capability::kSysRawio);
  const MutexLock lock(mu_);
  if (members_.empty())
    return reject(Errno::kInval, {"container", 0, "has no group yet (VFIO_GROUP_SET_CONTAINER)", kSection});
  if (iommu_ != ContainerIommu::kNone) return reject(Errno::kInval, {"container", 0, "has an IOMMU already", kSection});
  if (type == ContainerIommu::kNone || noiommu != holds_noiommu_locked() || (noiommu && !noiommu_allowed))
    return reject(Errno::kNoDev, {"type", 0, "no driver serves these groups with that type", kSection});
  if (!noiommu) return make_ioas_locked(type);
  if (!rawio)
    return reject(Errno::kPerm, {"capability", static_cast<u64>(mem::Capability::kSysRawio),
                                 "needs CAP_SYS_RAWIO (see --caps)", "noiommu 14"});
  iommu_ = type;
  return {};
}

Result<void> Container::make_ioas_locked(ContainerIommu type) {
  core::NewObject<core::Ioas> made = IOMMUFD_TRY(core::make_object<core::Ioas>(*ctx_, ctx_->platform()));
  const ObjectId id = made.id();
  made.publish();
  ioas_ = IOMMUFD_TRY(ctx_->get<core::Ioas>(id));
  Rollback drop([&]() IOMMUFD_REQUIRES(mu_) { drop_iommu_locked(); });
  for (Member& member : members_) IOMMUFD_TRY(attach_locked(member));
  iommu_ = type;
  drop.commit();
  return {};
}

Result<void> Container::attach_locked(Member& member) {
  Rollback undo([&] { detach(member); });
  for (core::PhysicalDevice* function : member.group->functions()) {
    member.devices.push_back(IOMMUFD_TRY(core::Device::bind(ctx_, *function)));
    const Result<ObjectId> hwpt = member.devices.back()->attach(core::kRid, ioas_->id());
    if (!hwpt) return Err(type1_error(hwpt.error()));
  }
  undo.commit();
  return {};
}

void Container::detach(Member& member) {
  for (const Ref<core::Device>& device : member.devices) {
    device->detach(core::kRid);
    device->unbind();
  }
  member.devices.clear();
}

void Container::drop_iommu_locked() {
  for (Member& member : members_) detach(member);
  iommu_ = ContainerIommu::kNone;
  mappings_.clear();
  tracking_ = false;
  if (!ioas_) return;
  const ObjectId id = ioas_->id();
  IOMMUFD_ASSERT(ioas_->unmap_all());
  ioas_ = {};
  IOMMUFD_ASSERT(ctx_->destroy(id));
}

Result<void> Container::add(Group& group) {
  const MutexLock lock(mu_);
  if (!members_.empty() && holds_noiommu_locked() != group.is_noiommu())
    return reject(Errno::kPerm, {"container", 0, "groups with and without an IOMMU do not share one", "noiommu 14"});
  members_.push_back({&group, {}});
  Rollback leave([&]() IOMMUFD_REQUIRES(mu_) { members_.pop_back(); });
  if (!group.is_noiommu()) IOMMUFD_TRY(group.iommu()->claim_group(group.id(), ctx_.get()));
  Rollback unclaim([&] {
    if (!group.is_noiommu()) group.iommu()->release_group(group.id(), ctx_.get());
  });
  if (is_type1_locked()) IOMMUFD_TRY(attach_locked(members_.back()));
  unclaim.commit();
  leave.commit();
  return {};
}

void Container::remove(Group& group) {
  const MutexLock lock(mu_);
  const auto at = std::ranges::find(members_, &group, &Member::group);
  IOMMUFD_ASSERT(at != members_.end());
  detach(*at);
  members_.erase(at);
  if (!group.is_noiommu()) group.iommu()->release_group(group.id(), ctx_.get());
  if (members_.empty()) drop_iommu_locked();
}

Result<Container::Info> Container::info() {
  const MutexLock lock(mu_);
  IOMMUFD_TRY(check_type1_locked());
  return Info{ioas_->pgsize_bitmap(), ioas_->iova_ranges().gaps, kMaxMappings - static_cast<u32>(mappings_.size())};
}

// The first mapping that has a byte in the range.
Container::Mappings::iterator Container::find_locked(u64 iova, u64 last) {
  auto at = mappings_.upper_bound(iova);
  if (at != mappings_.begin() && iova - std::prev(at)->first < std::prev(at)->second.size) return std::prev(at);
  return at != mappings_.end() && at->first <= last ? at : mappings_.end();
}

bool Container::is_whole_locked(u64 iova, u64 last) {
  const auto first = find_locked(iova, iova);
  if (first != mappings_.end() && first->first != iova) return false;
  const auto end = find_locked(last, last);
  return end == mappings_.end() || end->first + (end->second.size - 1) == last;
}

Result<void> Container::map(const MapRequest& request, mem::Caller& caller) {
  u64 last = 0;
  u64 vaddr_last = 0;
  if (request.size == 0) return reject(Errno::kInval, {"size", 0, "must not be 0", kSection});
  if (__builtin_add_overflow(request.iova, request.size - 1, &last) ||
      __builtin_add_overflow(request.vaddr, request.size - 1, &vaddr_last))
    return reject(Errno::kOverflow, {"size", request.size, "iova + size or vaddr + size wraps", kSection});
  if ((request.access == Access::kNone) != request.new_vaddr)
    return reject(Errno::kInval, {"flags", std::to_underlying(request.access),
                                  "must be READ, WRITE or both; or VADDR alone", kSection});
  if (!is_aligned(request.iova | request.size | request.vaddr, kSmallest))
    return reject(Errno::kInval, {"iova, size, vaddr", request.iova | request.size | request.vaddr,
                                  "must be multiples of a page", kSection});
  Ref<mem::AddressSpace> memory = request.memory ? request.memory : caller.memory();
  Ref<mem::Process> process = caller.process();
  const mem::ChargeMode mode = ctx_->charge_mode(caller);
  const MutexLock lock(mu_);
  IOMMUFD_TRY(check_type1_locked());
  const auto old = find_locked(request.iova, last);
  if (request.new_vaddr) {
    if (old == mappings_.end()) return reject(Errno::kNoEnt, {"iova", request.iova, "is not mapped", kSection});
    if (!old->second.vaddr_lost || old->first != request.iova || old->second.size != request.size)
      return reject(Errno::kInval, {"iova", request.iova, "is no whole mapping that has lost its address", kSection});
    old->second.vaddr_lost = false;  // the pages are pinned: nobody asks for them by address
    return {};
  }
  if (old != mappings_.end())
    return reject(Errno::kExist, {"iova", request.iova, "overlaps an existing mapping", kSection});
  if (mappings_.size() >= kMaxMappings)
    return reject(Errno::kNoSpc, {"mappings", mappings_.size(), "is the most that a container can have", kSection});
  const auto entry = mappings_.emplace(request.iova, Mapping{request.size, false}).first;
  Rollback forget([&]() IOMMUFD_REQUIRES(mu_) { mappings_.erase(entry); });
  (void)IOMMUFD_TRY(ioas_->map({request.iova, request.size, core::Placement::kFixed, request.access}, std::move(memory),
                               request.vaddr, std::move(process), mode));
  forget.commit();
  return {};
}

Result<u64> Container::unmap(u64 iova, u64 size, Unmap what) {
  if (!is_aligned(iova, kSmallest) || size == 0 || !is_aligned(size, kSmallest))
    return reject(Errno::kInval, {"iova, size", iova | size, "must be multiples of a page, and size not 0", kSection});
  u64 last = 0;
  if (__builtin_add_overflow(iova, size - 1, &last))
    return reject(Errno::kOverflow, {"size", size, "iova + size wraps", kSection});
  const MutexLock lock(mu_);
  IOMMUFD_TRY(check_type1_locked());
  if (iommu_ == ContainerIommu::kType1v2 && !is_whole_locked(iova, last))
    return reject(Errno::kInval, {"iova", iova, "the range cuts a mapping", kSection});
  auto from = find_locked(iova, last);
  if (from != mappings_.end() && from->first < iova) from = mappings_.end();  // version 1 stops there
  return unmap_locked(from, last, what);
}

Result<u64> Container::unmap_all(Unmap what) {
  const MutexLock lock(mu_);
  IOMMUFD_TRY(check_type1_locked());
  return unmap_locked(mappings_.begin(), ~u64{0}, what);
}

Result<u64> Container::unmap_locked(Mappings::iterator from, u64 last, Unmap what) {
  u64 bytes = 0;
  if (what == Unmap::kVaddr) {
    const auto end = mappings_.upper_bound(last);
    if (from == mappings_.end()) return 0;
    if (std::any_of(from, end, [](const auto& m) { return m.second.vaddr_lost; }))
      return reject(Errno::kInval, {"flags", 4, "a mapping in the range has lost its address already", kSection});
    for (auto at = from; at != end; ++at) {
      at->second.vaddr_lost = true;
      bytes += at->second.size;
    }
    return bytes;
  }
  while (from != mappings_.end() && from->first <= last) {
    u64 done = 0;
    IOMMUFD_TRY(ioas_->unmap_range(from->first, from->first + (from->second.size - 1), done));
    bytes += done;
    from = mappings_.erase(from);
  }
  return bytes;
}

void Container::track_dirty(bool on) {
  const MutexLock lock(mu_);
  tracking_ = on && is_type1_locked();
}

Result<std::vector<IovaRange>> Container::dirty_ranges(u64 iova, u64 size, u64 page_size) {
  const MutexLock lock(mu_);
  IOMMUFD_TRY(check_type1_locked());
  if (!tracking_) return reject(Errno::kInval, {"flags", 4, "dirty tracking is off (START)", kSection});
  if (page_size != kSmallest)
    return reject(Errno::kInval, {"pgsize", page_size, "must be the smallest page", kSection});
  if (!is_aligned(iova, kSmallest) || size == 0 || !is_aligned(size, kSmallest))
    return reject(Errno::kInval, {"iova, size", iova | size, "must be multiples of a page, and size not 0", kSection});
  u64 last = 0;
  if (__builtin_add_overflow(iova, size - 1, &last))
    return reject(Errno::kInval, {"size", size, "iova + size wraps", kSection});
  if (!is_whole_locked(iova, last)) return reject(Errno::kInval, {"iova", iova, "the range cuts a mapping", kSection});
  std::vector<IovaRange> ranges;
  for (auto at = find_locked(iova, last); at != mappings_.end() && at->first <= last; ++at)
    ranges.push_back({at->first, at->first + (at->second.size - 1)});
  return ranges;
}

}  // namespace iommufd::vfio

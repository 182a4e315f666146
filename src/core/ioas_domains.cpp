// SPDX-License-Identifier: BSD-3-Clause
// Domains of an IOAS and automatic HWPTs (spec iommufd-core 4.9, 5.6).
#include "base/assert.hpp"
#include "base/explain.hpp"
#include "base/rollback.hpp"
#include "core/group.hpp"
#include "core/ioas.hpp"
#include "core/ioas_detail.hpp"

namespace iommufd::core {
namespace {

std::vector<IovaRange> outside(IovaRange aperture) {
  std::vector<IovaRange> out;
  if (aperture.start != 0) out.push_back({0, aperture.start - 1});
  if (aperture.last != ~u64{0}) out.push_back({aperture.last + 1, ~u64{0}});
  return out;
}

}  // namespace

Result<void> Ioas::add_domain(iommu::Domain& domain) {
  const WriteLock domains_lock(domains_mu_);
  u64 old_alignment = 0;
  {
    const MutexLock iova_lock(iova_mu_);
    old_alignment = alignment_;
    IOMMUFD_TRY(raise_alignment_locked(std::max(alignment_, domain.smallest_page())));
  }
  Rollback restore_alignment{[&]() IOMMUFD_REQUIRES(domains_mu_) {
    const MutexLock iova_lock(iova_mu_);
    alignment_ = old_alignment;
  }};
  IOMMUFD_TRY(reserve(outside(domain.aperture()), &domain));
  Rollback withdraw{[&] { unreserve(&domain); }};

  // No call maps or unmaps meanwhile: they hold domains_mu_ shared.
  domains_.reserve(domains_.size() + 1);
  Teardown teardown(platform_);
  struct Done {
    u64 start;
    u64 last;
    const Area* area;
  };
  std::vector<Done> done;
  const bool first = domains_.empty();
  Rollback clear{[&] {
    for (const Done& d : done) {
      clear_area(d.start, d.last, domain, teardown.gather);
      const PageSpan span = pages_of(d.area->offset, d.last - d.start + 1);
      if (first) d.area->pages->unpin(span.first, span.count, teardown.frames);
    }
  }};
  {
    const MutexLock iova_lock(iova_mu_);
    done.reserve(areas_.size());
    for (const auto [start, last, area] : areas_) {
      if (area.revoked) continue;
      const PageSpan span = pages_of(area.offset, last - start + 1);
      if (first) {
        IOMMUFD_TRY(pin_area(start, last, area));
      }
      Rollback unpin{[&] {
        if (first) area.pages->unpin(span.first, span.count, teardown.frames);
      }};
      IOMMUFD_TRY(fill_area(start, last, area, domain, teardown.gather));
      unpin.commit();
      done.push_back({start, last, &area});
    }
  }
  clear.commit();
  withdraw.commit();
  restore_alignment.commit();
  domains_.push_back(&domain);
  return {};
}

void Ioas::remove_domain(iommu::Domain& domain) {
  Teardown teardown(platform_);  // waits and frees without the locks
  const WriteLock domains_lock(domains_mu_);
  const auto at = std::ranges::find(domains_, &domain);
  IOMMUFD_ASSERT(at != domains_.end());
  {
    const MutexLock iova_lock(iova_mu_);
    for (const auto [start, last, area] : areas_) {
      if (area.revoked) continue;
      const PageSpan span = pages_of(area.offset, last - start + 1);
      clear_area(start, last, domain, teardown.gather);
      if (domains_.size() == 1) area.pages->unpin(span.first, span.count, teardown.frames);
    }
  }
  // The last one moves into the gap: storage follows index 0 (noiommu.md 11).
  *at = domains_.back();
  domains_.pop_back();
  const MutexLock iova_lock(iova_mu_);
  reserved_.remove(&domain);
  alignment_ = wanted_alignment_locked();
}

Result<void> Ioas::add_hwpt_locked(HwptPaging& hwpt) {
  hwpts_.reserve(hwpts_.size() + 1);
  IOMMUFD_TRY(add_domain(hwpt.domain()));
  hwpts_.push_back(&hwpt);
  hwpt.in_ioas_ = true;
  return {};
}

Result<void> Ioas::add_hwpt(HwptPaging& hwpt) {
  const MutexLock lock(hwpt_mu_);
  return add_hwpt_locked(hwpt);
}

void Ioas::remove_hwpt(HwptPaging& hwpt) {
  const MutexLock lock(hwpt_mu_);
  if (!hwpt.in_ioas_) return;
  hwpt.in_ioas_ = false;
  std::erase(hwpts_, &hwpt);
  remove_domain(hwpt.domain());
}

namespace {

// The domain that the driver of this device makes when nothing special is asked for. For a noiommu device it is the
// built-in software table.
Result<NewObject<HwptPaging>> make_auto_hwpt(Context& ctx, Device& device, Ioas& ioas) {
  iommu::Instance& maker = device.physical().is_noiommu() ? ctx.platform().noiommu() : *device.physical().iommu;
  Use<Ioas> use = Use<Ioas>::try_acquire(ioas);
  IOMMUFD_ASSERT(use);  // the caller holds one
  std::unique_ptr<iommu::Domain> domain = IOMMUFD_TRY(maker.alloc_domain({}, {}));
  return make_object<HwptPaging>(ctx, std::move(use), std::move(domain), HwptOrigin::kAutomatic, iommu::DomainFlags{});
}

}  // namespace

Result<ObjectId> Ioas::attach_auto(Context& ctx, Device& device, Pasid pasid) {
  std::vector<Use<HwptPaging>> passed;        // uses of HWPTs that were tried; dropped without the lock
  std::optional<NewObject<HwptPaging>> made;  // an abandoned one is torn down without the lock
  const MutexLock lock(hwpt_mu_);
  for (HwptPaging* hwpt : hwpts_) {
    if (!hwpt->is_automatic()) continue;
    Use<HwptPaging> use = Use<HwptPaging>::try_acquire(*hwpt);
    if (!use) continue;  // on its way out
    passed.push_back(std::move(use));
    const Result<void> attached = device.group().attach(device, pasid, *hwpt);
    if (attached) return hwpt->id();
    if (attached.error() != Errno::kInval) return Err(attached.error());
  }
  made.emplace(IOMMUFD_TRY(make_auto_hwpt(ctx, device, *this)));
  HwptPaging& hwpt = **made;
  IOMMUFD_TRY(device.group().attach(device, pasid, hwpt));
  Use<HwptPaging> undone;
  Rollback detach{[&] { undone = device.group().detach(device, pasid); }};
  IOMMUFD_TRY(add_hwpt_locked(hwpt));
  detach.commit();
  return made->publish()->id();
}

Result<ObjectId> Ioas::replace_auto(Context& ctx, Device& device, Pasid pasid, std::vector<Use<HwptPaging>>& old) {
  std::vector<Use<HwptPaging>> passed;
  std::optional<NewObject<HwptPaging>> made;
  const MutexLock lock(hwpt_mu_);
  for (HwptPaging* hwpt : hwpts_) {
    if (!hwpt->is_automatic()) continue;
    Use<HwptPaging> use = Use<HwptPaging>::try_acquire(*hwpt);
    if (!use) continue;
    passed.push_back(std::move(use));
    const Result<void> replaced = device.group().replace(device, pasid, *hwpt, old);
    if (replaced) return hwpt->id();
    if (replaced.error() != Errno::kInval) return Err(replaced.error());
  }
  made.emplace(IOMMUFD_TRY(make_auto_hwpt(ctx, device, *this)));
  HwptPaging& hwpt = **made;
  IOMMUFD_TRY(add_hwpt_locked(hwpt));
  IOMMUFD_TRY(device.group().replace(device, pasid, hwpt, old));
  return made->publish()->id();
}

}  // namespace iommufd::core

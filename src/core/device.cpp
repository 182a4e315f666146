// SPDX-License-Identifier: BSD-3-Clause
#include "core/device.hpp"

#include "base/explain.hpp"
#include "base/rollback.hpp"
#include "core/context.hpp"
#include "core/group.hpp"
#include "core/hwpt.hpp"
#include "core/ioas.hpp"
#include "iommu/instance.hpp"

namespace iommufd::core {
namespace {

// A HWPT that a device has left: an automatic one ends with its last attachment.
void let_go(Context& ctx, Use<HwptPaging> hwpt) {
  if (!hwpt) return;
  const bool automatic = hwpt->is_automatic();
  const ObjectId id = hwpt->id();
  hwpt = {};
  // Busy: other attachments, or a call that uses it right now; then IOMMU_DESTROY may end it (spec 5.6).
  if (automatic) static_cast<void>(ctx.destroy(id));
}

}  // namespace

bool PhysicalDevice::can_track_dirty() const {
  return !is_noiommu() && iommu->can_track_dirty() && !dirty_tracking_off;
}

Device::Device(Context& ctx, PhysicalDevice& device) : Object(kType), ctx_(ctx), physical_(device) {}

Device::~Device() = default;

Result<Ref<Device>> Device::bind(Ref<Context> ctx, PhysicalDevice& device, Binder binder) {
  const Ref<Device> self = Ref<Device>::adopt(new Device(*ctx, device));
  if (binder == Binder::kDriver) self->keep_ = ctx;
  IOMMUFD_TRY(ctx->reserve(*self));
  NewObject<Device> pending(ctx, self);
  if (device.is_noiommu()) {
    self->group_ = make_ref<Group>(nullptr, u32{0});
  } else {
    IOMMUFD_TRY(device.iommu->claim_group(device.group_id, ctx.get()));
    Rollback release{[&] { device.iommu->release_group(device.group_id, ctx.get()); }};
    self->group_ = ctx->join_group(*device.iommu, device.group_id);
    release.commit();
  }
  self->binder_ = Use<Device>::try_acquire(*self);
  return pending.publish();
}

// Also ends a device whose bind failed before it had a group.
void Device::teardown() {
  if (!group_) return;
  if (!physical_.is_noiommu()) {
    ctx_.leave_group(group_);
    physical_.iommu->release_group(physical_.group_id, &ctx_);
  }
  group_ = nullptr;
}

Result<ObjectId> Device::attach(Pasid pasid, ObjectId pt_id) { return change(Change::kAttach, pasid, pt_id); }

Result<ObjectId> Device::replace(Pasid pasid, ObjectId pt_id) { return change(Change::kReplace, pasid, pt_id); }

Result<ObjectId> Device::attach_or_replace(Pasid pasid, ObjectId pt_id) {
  return change(is_attached(pasid) ? Change::kReplace : Change::kAttach, pasid, pt_id);
}

Result<ObjectId> Device::change(Change how, Pasid pasid, ObjectId pt_id) {
  Result<Use<Object>> found = ctx_.get_any(pt_id);
  if (!found)
    return reject(Errno::kNoEnt, {"pt_id", std::to_underlying(pt_id), "no such object", "iommufd-core 5.4 row 1"});
  Use<Object> target = std::move(*found);
  const bool replacing = how == Change::kReplace;
  std::vector<Use<HwptPaging>> old;
  if (replacing && ctx_.watcher() != nullptr) ctx_.watcher()->before_detach(ctx_);
  const auto finish = [&](Result<ObjectId> result) {
    for (Use<HwptPaging>& use : old) let_go(ctx_, std::move(use));
    return result;
  };
  switch (target->type()) {
    case ObjectType::kHwptPaging: {
      const Use<HwptPaging> hwpt = std::move(target).downcast<HwptPaging>();
      const Result<void> done =
          replacing ? group_->replace(*this, pasid, *hwpt, old) : group_->attach(*this, pasid, *hwpt);
      if (!done) return Err(done.error());
      return finish(hwpt->id());
    }
    case ObjectType::kIoas: {
      const Use<Ioas> ioas = std::move(target).downcast<Ioas>();
      return finish(replacing ? ioas->replace_auto(ctx_, *this, pasid, old) : ioas->attach_auto(ctx_, *this, pasid));
    }
    case ObjectType::kDevice:
    case ObjectType::kAccess:
    case ObjectType::kSelftest: break;
  }
  return reject(Errno::kInval,
                {"pt_id", std::to_underlying(pt_id), "must be an IOAS or a HWPT", "iommufd-core 5.4 row 4"});
}

void Device::detach(Pasid pasid) {
  if (ctx_.watcher() != nullptr) ctx_.watcher()->before_detach(ctx_);
  let_go(ctx_, group_->detach(*this, pasid));
}

bool Device::is_attached(Pasid pasid) { return group_->is_attached(*this, pasid); }

void Device::unbind() {
  const Ref<Device> self(*this);
  const Ref<Context> keep = keep_;  // beyond the end of the object
  while (const std::optional<Pasid> pasid = group_->last_pasid_of(*this)) detach(*pasid);
  binder_ = {};
  ctx_.remove_when_idle(*this);
}

}  // namespace iommufd::core

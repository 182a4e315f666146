// SPDX-License-Identifier: BSD-3-Clause
#include "selftest/access_items.hpp"

#include "base/explain.hpp"
#include "base/rollback.hpp"

namespace iommufd::selftest {

Result<Ref<AccessItems>> AccessItems::create(const Ref<core::Context>& ctx, core::Pinning pinning) {
  Ref<AccessItems> self = Ref<AccessItems>::adopt(new AccessItems);
  self->access_ = IOMMUFD_TRY(core::IoasAccess::create(ctx, pinning, *self));
  return self;
}

AccessItems::~AccessItems() { close(); }

// The access asks for everything when it detaches.
void AccessItems::close() {
  if (!access_) return;
  access_->destroy();
  access_ = nullptr;
}

Result<u32> AccessItems::pin(u64 iova, u64 length, Access want, const Check& check) {
  std::vector<PhysAddr> frames;
  const MutexLock lock(mu_);
  const auto item = items_.emplace(next_, Item{iova, length}).first;
  Rollback forget{[&]() IOMMUFD_REQUIRES(mu_) { items_.erase(item); }};
  IOMMUFD_TRY(access_->pin(iova, length, want, frames));
  Rollback unpin{[&] { access_->unpin(iova, length); }};
  IOMMUFD_TRY(check(frames));
  unpin.commit();
  forget.commit();
  return next_++;
}

Result<void> AccessItems::unpin(u32 item) {
  const MutexLock lock(mu_);
  const auto it = items_.find(item);
  if (it == items_.end())
    return reject(Errno::kNoEnt, {"access_pages_id", item, "is not pinned (any more)", "selftest-abi 3.8"});
  access_->unpin(it->second.iova, it->second.length);
  items_.erase(it);
  return {};
}

void AccessItems::unmap(u64 iova, u64 length) {
  const u64 last = iova + (length - 1);
  const MutexLock lock(mu_);
  for (auto it = items_.begin(); it != items_.end();) {
    const Item& item = it->second;
    if (item.iova > last || item.iova + (item.length - 1) < iova) {
      ++it;
      continue;
    }
    access_->unpin(item.iova, item.length);
    it = items_.erase(it);
  }
}

}  // namespace iommufd::selftest

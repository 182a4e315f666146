// SPDX-License-Identifier: BSD-3-Clause
// The driver behind an access descriptor (spec selftest-abi 3.6 to 3.10, 7): it pins ranges as numbered items and drops
// those that are about to be unmapped. Thread-safe.
//
// Lock: mu_ (kSelftest) guards the items. It is held while a range is pinned, so that whoever unmaps finds the item.
#pragma once

#include <functional>
#include <map>

#include "base/sync.hpp"
#include "core/access.hpp"

namespace iommufd::selftest {

class AccessItems final : public RefCounted, private core::AccessDriver {
 public:
  // Makes the ACCESS object, not attached. Errors: those of IoasAccess::create().
  static Result<Ref<AccessItems>> create(const Ref<core::Context>& ctx, core::Pinning pinning);
  // Drops everything and ends the access; the end of the object does it too. Nothing else is called afterwards.
  void close() IOMMUFD_EXCLUDES(mu_);

  [[nodiscard]] core::IoasAccess& access() const { return *access_; }

  // Pins a range, shows the addresses of its pages to `check`, and returns the number of the item: from 0 on, never used
  // again. Errors: those of IoasAccess::pin() and of `check`, which undo it.
  using Check = std::function<Result<void>(std::span<const PhysAddr>)>;
  Result<u32> pin(u64 iova, u64 length, Access want, const Check& check) IOMMUFD_EXCLUDES(mu_);
  // Errors: kNoEnt.
  Result<void> unpin(u32 item) IOMMUFD_EXCLUDES(mu_);

 private:
  struct Item {
    u64 iova;
    u64 length;
  };
  AccessItems() = default;
  ~AccessItems() override;
  void unmap(u64 iova, u64 length) override IOMMUFD_EXCLUDES(mu_);

  Ref<core::IoasAccess> access_;
  Mutex mu_{LockRank::kSelftest};
  std::map<u32, Item> items_ IOMMUFD_GUARDED_BY(mu_);
  u32 next_ IOMMUFD_GUARDED_BY(mu_) = 0;
};

}  // namespace iommufd::selftest

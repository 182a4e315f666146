// SPDX-License-Identifier: BSD-3-Clause
#include "core/hwpt.hpp"

#include "base/assert.hpp"
#include "base/explain.hpp"
#include "core/ioas.hpp"

namespace iommufd::core {
namespace {

// Flags of IOMMU_HWPT_ALLOC (spec iommufd-core 0.1).
constexpr u32 kNestParent = 1;
constexpr u32 kDirtyTracking = 2;
constexpr u32 kFaultIdValid = 4;
constexpr u32 kPasid = 8;
constexpr u32 kAllFlags = 0xf;

}  // namespace

HwptPaging::HwptPaging(Use<Ioas> ioas, std::unique_ptr<iommu::Domain> domain, HwptOrigin origin,
                       iommu::DomainFlags flags)
    : Object(kType), ioas_(std::move(ioas)), domain_(std::move(domain)), origin_(origin), flags_(flags) {}

HwptPaging::~HwptPaging() = default;

void HwptPaging::teardown() {
  ioas_->remove_hwpt(*this);
  ioas_ = {};
}

Result<NewObject<HwptPaging>> HwptPaging::create_manual(Device& device, Ioas& ioas, u32 flags,
                                                        const iommu::UserData& data) {
  if ((flags & ~kAllFlags) != 0)
    return reject(Errno::kOpNotSupp, {"flags", flags, "unknown bits", "iommufd-core A.1 row 5b"});
  if ((flags & kDirtyTracking) != 0 && !device.physical().can_track_dirty())
    return reject(Errno::kOpNotSupp,
                  {"flags", flags, "DIRTY_TRACKING, but the device's IOMMU does not track dirty pages",
                   "iommufd-core A.1 row 5c"});
  if ((flags & kFaultIdValid) != 0 && (flags & kNestParent) != 0)
    return reject(Errno::kOpNotSupp,
                  {"flags", flags, "FAULT_ID_VALID together with NEST_PARENT", "iommufd-core A.1 row 5d"});
  const iommu::DomainFlags wanted{(flags & kNestParent) != 0, (flags & kDirtyTracking) != 0, (flags & kPasid) != 0};
  Context& ctx = device.context();
  iommu::Instance& maker = device.physical().is_noiommu() ? ctx.platform().noiommu() : *device.physical().iommu;
  std::unique_ptr<iommu::Domain> domain = IOMMUFD_TRY(maker.alloc_domain(wanted, data));
  Use<Ioas> use = Use<Ioas>::try_acquire(ioas);
  IOMMUFD_ASSERT(use);  // the caller holds one
  NewObject<HwptPaging> hwpt =
      IOMMUFD_TRY(make_object<HwptPaging>(ctx, std::move(use), std::move(domain), HwptOrigin::kManual, wanted));
  IOMMUFD_TRY(ioas.add_hwpt(*hwpt));
  return hwpt;
}

}  // namespace iommufd::core

// SPDX-License-Identifier: BSD-3-Clause
// HWPT_PAGING: a domain in an IOAS (spec iommufd-core 4.9, A.1; iommufd-hwpt 4.3). Made by HWPT_ALLOC, or automatically
// when a device attaches to an IOAS; an automatic one ends with its last attachment.
#pragma once

#include <memory>

#include "base/ref.hpp"
#include "base/result.hpp"
#include "core/context.hpp"
#include "core/device.hpp"
#include "core/object.hpp"
#include "iommu/domain.hpp"

namespace iommufd::core {

class Ioas;

enum class HwptOrigin : u8 { kManual, kAutomatic };

class HwptPaging final : public Object {
 public:
  static constexpr ObjectType kType = ObjectType::kHwptPaging;

  HwptPaging(Use<Ioas> ioas, std::unique_ptr<iommu::Domain> domain, HwptOrigin origin, iommu::DomainFlags flags);

  [[nodiscard]] Ioas& ioas() const { return *ioas_; }
  [[nodiscard]] iommu::Domain& domain() const { return *domain_; }
  [[nodiscard]] bool is_automatic() const { return origin_ == HwptOrigin::kAutomatic; }
  [[nodiscard]] bool nest_parent() const { return flags_.nest_parent; }
  [[nodiscard]] bool pasid_compatible() const { return flags_.pasid; }

  // IOMMU_HWPT_ALLOC on an IOAS: allocates, adds the domain to the IOAS (which fills it), unpublished.
  // `flags` are those of the uapi (checked here, late as in the kernel).
  static Result<NewObject<HwptPaging>> create_manual(Device& device, Ioas& ioas, u32 flags,
                                                     const iommu::UserData& data);

 private:
  friend class Ioas;
  ~HwptPaging() override;
  void teardown() override;

  Use<Ioas> ioas_;
  const std::unique_ptr<iommu::Domain> domain_;
  const HwptOrigin origin_;
  const iommu::DomainFlags flags_;
  bool in_ioas_ = false;  // the domain was added; guarded by the IOAS's HWPT list lock
};

}  // namespace iommufd::core

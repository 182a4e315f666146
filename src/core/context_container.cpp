// SPDX-License-Identifier: BSD-3-Clause
// A context as a VFIO container (spec iommufd-core 6.1).
#include "core/context.hpp"
#include "core/ioas.hpp"

namespace iommufd::core {

bool Context::is_noiommu_container() {
  const MutexLock lock(mu_);
  return noiommu_container_;
}

Result<void> Context::enter_container(ContainerKind kind) {
  if (kind == ContainerKind::kNoiommu) {
    const MutexLock lock(mu_);
    if (compat_ioas_ != ObjectId{})
      return reject(Errno::kInval,
                    {"compat_ioas", std::to_underlying(compat_ioas_),
                     "a group without an IOMMU needs a context without compat IOAS", "iommufd-core 6.1"});
    noiommu_container_ = true;
    return {};
  }
  const auto decided = [&]() IOMMUFD_REQUIRES(mu_) { return noiommu_container_ || compat_ioas_ != ObjectId{}; };
  const auto verdict = [&]() IOMMUFD_REQUIRES(mu_) -> Result<void> {
    if (!noiommu_container_) return {};
    return reject(Errno::kInval, {"container", 0, "the context holds a group without an IOMMU", "iommufd-core 6.1"});
  };
  {
    const MutexLock lock(mu_);
    if (decided()) return verdict();
  }
  NewObject<Ioas> ioas = IOMMUFD_TRY(make_object<Ioas>(*this, platform_));
  {
    const MutexLock lock(mu_);
    if (decided()) return verdict();  // somebody was faster; ours goes
    compat_ioas_ = ioas.id();
  }
  ioas.publish();
  return {};
}

}  // namespace iommufd::core

// SPDX-License-Identifier: BSD-3-Clause
#include "models/nvme/turn.hpp"

namespace iommufd::models::nvme {

// The capability is the flag, which the analysis does not see.
void Turn::take() IOMMUFD_NO_ANALYSIS {
  const MutexLock lock(mu_);
  ++waiting_;
  while (taken_) given_.wait(mu_);
  --waiting_;
  taken_ = true;
}

bool Turn::try_take() IOMMUFD_NO_ANALYSIS {
  const MutexLock lock(mu_);
  if (taken_ || waiting_ != 0) return false;
  taken_ = true;
  return true;
}

void Turn::give() IOMMUFD_NO_ANALYSIS {
  bool wanted = false;
  {
    const MutexLock lock(mu_);
    taken_ = false;
    wanted = waiting_ != 0;
  }
  if (wanted) given_.notify_one();
}

}  // namespace iommufd::models::nvme

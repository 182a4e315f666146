// SPDX-License-Identifier: BSD-3-Clause
#include "models/turn.hpp"

#include "pci/peer_access.hpp"

namespace iommufd::models {

// The capability is the flag, which the analysis does not see.
void Turn::take() IOMMUFD_NO_ANALYSIS {
  const MutexLock lock(mu_);
  ++waiting_;
  while (taken_) given_.wait(mu_);
  --waiting_;
  taken_ = true;
  owner_ = std::this_thread::get_id();
}

bool Turn::try_take() IOMMUFD_NO_ANALYSIS {
  const MutexLock lock(mu_);
  if (taken_ || waiting_ != 0) return false;
  taken_ = true;
  owner_ = std::this_thread::get_id();
  return true;
}

bool Turn::take_for_access() IOMMUFD_NO_ANALYSIS {
  if (!pci::PeerAccess::current()) {
    take();
    return true;
  }
  const auto end = std::chrono::steady_clock::now() + kPeerPatience;
  const MutexLock lock(mu_);
  ++waiting_;
  while (taken_ && owner_ != std::this_thread::get_id()) {
    const auto left = end - std::chrono::steady_clock::now();
    if (left.count() <= 0) break;
    (void)given_.wait_for(mu_, left);
  }
  --waiting_;
  if (taken_) return false;
  taken_ = true;
  owner_ = std::this_thread::get_id();
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

bool Turn::wanted() {
  const MutexLock lock(mu_);
  return waiting_ != 0;
}

}  // namespace iommufd::models

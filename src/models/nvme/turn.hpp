// SPDX-License-Identifier: BSD-3-Clause
// Who serves the controller. One thread at a time has the turn, and keeps it while it is inside the DmaPort, where no
// lock may be held; so it is a flag with a lock (kModel) around it that is held for moments only. Whoever waits comes before whoever
// only tries, which is the poller.
#pragma once

#include "base/sync.hpp"

namespace iommufd::models::nvme {

class IOMMUFD_CAPABILITY("turn") Turn {
 public:
  Turn() = default;
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  void take() IOMMUFD_ACQUIRE();
  bool try_take() IOMMUFD_TRY_ACQUIRE(true);
  void give() IOMMUFD_RELEASE();

 private:
  Mutex mu_{LockRank::kModel};
  CondVar given_;
  bool taken_ IOMMUFD_GUARDED_BY(mu_) = false;
  u32 waiting_ IOMMUFD_GUARDED_BY(mu_) = 0;
};

class IOMMUFD_SCOPED_CAPABILITY TurnLock {
 public:
  explicit TurnLock(Turn& turn) IOMMUFD_ACQUIRE(turn) : turn_(turn) { turn_.take(); }
  TurnLock(Turn& turn, AdoptLock) IOMMUFD_REQUIRES(turn) : turn_(turn) {}
  ~TurnLock() IOMMUFD_RELEASE() { turn_.give(); }
  TurnLock(const TurnLock&) = delete;
  TurnLock& operator=(const TurnLock&) = delete;

 private:
  Turn& turn_;
};

}  // namespace iommufd::models::nvme

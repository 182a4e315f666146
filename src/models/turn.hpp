// SPDX-License-Identifier: BSD-3-Clause
// Who serves a device. One thread at a time has the turn, and keeps it while it is inside the DmaPort, where no
// lock may be held; so it is a flag with a lock (kModel) around it that is held for moments only. Whoever waits comes before whoever
// only tries, which is the poller.
#pragma once

#include <chrono>
#include <thread>

#include "base/sync.hpp"

namespace iommufd::models {

class IOMMUFD_CAPABILITY("turn") Turn {
 public:
  // How long an access of another device waits.
  static constexpr std::chrono::milliseconds kPeerPatience{100};

  Turn() = default;
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  void take() IOMMUFD_ACQUIRE();
  bool try_take() IOMMUFD_TRY_ACQUIRE(true);
  // For an access of a register. One of another device (pci::PeerAccess) waits for kPeerPatience at most, because the two may wait for
  // each other, and not at all for this very thread. False: the device does not answer.
  bool take_for_access() IOMMUFD_TRY_ACQUIRE(true);
  void give() IOMMUFD_RELEASE();

  // Somebody waits: whoever has the turn should come to an end.
  [[nodiscard]] bool wanted() IOMMUFD_EXCLUDES(mu_);

 private:
  Mutex mu_{LockRank::kModel};
  CondVar given_;
  bool taken_ IOMMUFD_GUARDED_BY(mu_) = false;
  std::thread::id owner_ IOMMUFD_GUARDED_BY(mu_);  // while it is taken
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

}  // namespace iommufd::models

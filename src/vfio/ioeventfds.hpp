// SPDX-License-Identifier: BSD-3-Clause
// Eventfds that write a value into a BAR when they are signalled (spec vfio-device 15).
//
// Lock order: mu_ (kVfioDevice) guards the list; the writes run on the EventWatcher's thread without it.
#pragma once

#include <vector>

#include "base/event_watcher.hpp"
#include "base/result.hpp"
#include "base/sync.hpp"
#include "pci/function.hpp"
#include "vfio/irq.hpp"

namespace iommufd::vfio {

struct IoeventfdRequest {
  u32 bar = 0;     // region index
  u64 offset = 0;  // inside the region
  u32 width = 0;   // 1, 2, 4 or 8
  u64 data = 0;
  IrqEventfd event;  // number -1 removes
};

class Ioeventfds {
 public:
  static constexpr std::size_t kLimit = 1000;

  Ioeventfds(pci::Function& function, EventWatcher& watcher) : function_(function), watcher_(watcher) {}
  Ioeventfds(const Ioeventfds&) = delete;
  Ioeventfds& operator=(const Ioeventfds&) = delete;

  // Errors: kInval, kExist, kNoDev, kNoSpc, those of the eventfd.
  Result<void> set(IoeventfdRequest request) IOMMUFD_EXCLUDES(mu_);
  // When it returns, nothing is written any more.
  void teardown() IOMMUFD_EXCLUDES(mu_);

 private:
  struct Entry {
    u32 bar;
    u64 offset;
    u32 width;
    u64 data;
    EventWatcher::WatchId watch;
  };
  pci::Function& function_;
  EventWatcher& watcher_;
  Mutex mu_{LockRank::kVfioDevice};
  std::vector<Entry> entries_ IOMMUFD_GUARDED_BY(mu_);
};

}  // namespace iommufd::vfio

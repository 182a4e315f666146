// SPDX-License-Identifier: BSD-3-Clause
// Shadow doorbells (NVMe 1.4, 5.7 and 7.13; spec nvme 9). The client notes a doorbell's value in a shadow, and rings only if
// the event index lies between the value before and the new one. Here a ring is always the wake-up: after it the event
// index becomes the shadow's value, so that the next change rings again. A shadow is never read while its queue is quiet: a
// client may have taken the ring's memory away by then.
#pragma once

#include <vector>

#include "iommu/dma_port.hpp"

namespace iommufd::models::nvme {

class DoorbellBuffer {
 public:
  // `doorbells` is the number of doorbells, admin ones included.
  explicit DoorbellBuffer(u32 doorbells) : last_(doorbells) {}

  void configure(u64 shadows, u64 event_indexes) {
    shadows_ = shadows;
    events_ = event_indexes;
    active_ = true;
  }
  void clear() { active_ = false; }
  [[nodiscard]] bool active() const { return active_; }
  // What the doorbell is now, which the client does not read: at configuration, and after each creation of a queue.
  Result<void> show(iommu::DmaPort& port, u32 doorbell, u32 value);
  // `rung` was stored into the doorbell: the value that counts. The shadows of admin doorbells are used by some clients only:
  // one that did not move is not believed. Errors: kFault.
  Result<u32> settle(iommu::DmaPort& port, u32 doorbell, u32 rung);

 private:
  u64 shadows_ = 0, events_ = 0;
  bool active_ = false;
  std::vector<u32> last_;  // what we have seen in, or put into, the shadow
};

}  // namespace iommufd::models::nvme

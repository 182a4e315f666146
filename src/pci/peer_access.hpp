// SPDX-License-Identifier: BSD-3-Clause
// An access of a BAR that another device makes by DMA. It runs on the thread that serves that device, which keeps things meanwhile
// that the accessed one may want in turn, or is that device itself: so it must not wait as an access of the processor may.
#pragma once

namespace iommufd::pci {

class PeerAccess {
 public:
  PeerAccess() { ++depth(); }
  ~PeerAccess() { --depth(); }
  PeerAccess(const PeerAccess&) = delete;
  PeerAccess& operator=(const PeerAccess&) = delete;

  // Is this thread inside one?
  [[nodiscard]] static bool current() { return depth() != 0; }

 private:
  static unsigned& depth() {
    thread_local unsigned depth = 0;
    return depth;
  }
};

}  // namespace iommufd::pci

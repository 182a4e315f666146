// SPDX-License-Identifier: BSD-3-Clause
#include "mem/dma_barrier.hpp"

#include <thread>

namespace iommufd::mem {

Result<void> DmaBarrier::add(Slot& slot) {
  const MutexLock lock(mu_);
  const std::size_t n = count_.load(std::memory_order_relaxed);
  if (n == kMaxDevices) return Err(Errno::kNoSpc);
  slots_[n].store(&slot, std::memory_order_relaxed);
  count_.store(n + 1, std::memory_order_release);
  return {};
}

void DmaBarrier::wait_busy() {
  const MutexLock lock(mu_);
  const u64 old = epoch_.fetch_add(1, std::memory_order_seq_cst);
  const std::size_t n = count_.load(std::memory_order_acquire);
  for (std::size_t i = 0; i < n; ++i) {
    const std::atomic<u64>& inflight = slots_[i].load(std::memory_order_relaxed)->inflight[old & 1];
    for (unsigned spins = 0; inflight.load(std::memory_order_seq_cst) != 0; ++spins)
      if (spins > 64) std::this_thread::yield();
  }
}

}  // namespace iommufd::mem

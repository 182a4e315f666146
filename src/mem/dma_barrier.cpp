// SPDX-License-Identifier: BSD-3-Clause
#include "mem/dma_barrier.hpp"

#include <thread>

namespace iommufd::mem {

void DmaEpoch::wait_busy() {
  const MutexLock lock(mu_);
  const u64 old = epoch_.fetch_add(1, std::memory_order_seq_cst);
  const std::atomic<u64>& inflight = inflight_[old & 1];
  for (unsigned spins = 0; running(inflight.load(std::memory_order_seq_cst)) != 0; ++spins)
    if (spins > 64) std::this_thread::yield();
}

void DmaBarrier::add(DmaEpoch& device) {
  device.next_ = first_.load(std::memory_order_relaxed);
  first_.store(&device, std::memory_order_release);
}

void DmaBarrier::wait() {
  DmaEpoch* device = first_.load(std::memory_order_acquire);
  if (device == nullptr) return;
  full_fence();
  for (; device != nullptr; device = device->next_) device->wait();
}

bool DmaBarrier::quiet() const {
  const DmaEpoch* device = first_.load(std::memory_order_acquire);
  if (device == nullptr) return true;
  full_fence();
  for (; device != nullptr; device = device->next_)
    if (!device->idle()) return false;
  return true;
}

}  // namespace iommufd::mem

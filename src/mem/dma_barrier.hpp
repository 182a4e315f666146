// SPDX-License-Identifier: BSD-3-Clause
// Waiting for DMA in flight. A device touches memory only inside a Transaction; whoever has cleared a translation or
// unpinned a frame calls wait(), and when it returns no transaction that began before the call is still running. With
// idle devices it waits for nothing and writes nothing shared.
//
// How: every device counts its transactions by the parity of a global epoch. wait() advances the epoch and waits until
// the counts of the old parity are zero. A transaction checks the epoch again after it has counted itself, so one that
// is counted under the new parity began after the advance and sees what was cleared before it.
#pragma once

#include <array>
#include <atomic>

#include "base/result.hpp"
#include "base/sync.hpp"
#include "base/types.hpp"

namespace iommufd::mem {

class DmaBarrier {
 public:
  // The counters of one device.
  struct alignas(64) Slot {
    std::array<std::atomic<u64>, 2> inflight{};
  };
  static constexpr std::size_t kMaxDevices = 1024;

  DmaBarrier() = default;
  DmaBarrier(const DmaBarrier&) = delete;
  DmaBarrier& operator=(const DmaBarrier&) = delete;

  // Registers a device's counters for the rest of the barrier's life. Errors: kNoSpc.
  Result<void> add(Slot& slot) IOMMUFD_EXCLUDES(mu_);

  class Transaction {
   public:
    Transaction(DmaBarrier& barrier, Slot& slot) {
      for (;;) {
        const u64 epoch = barrier.epoch_.load(std::memory_order_seq_cst);
        count_ = &slot.inflight[epoch & 1];
        count_->fetch_add(1, std::memory_order_seq_cst);
        if (barrier.epoch_.load(std::memory_order_seq_cst) == epoch) [[likely]]
          return;
        count_->fetch_sub(1, std::memory_order_release);
      }
    }
    ~Transaction() { count_->fetch_sub(1, std::memory_order_release); }
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;

   private:
    std::atomic<u64>* count_;
  };

  // Never call it inside a Transaction of the same thread.
  void wait() {
    if (!quiet()) [[unlikely]]
      wait_busy();
  }
  // True when there is nothing to wait for.
  [[nodiscard]] bool quiet() {
#if defined(__SANITIZE_THREAD__)
    (void)epoch_.fetch_add(0, std::memory_order_seq_cst);  // the sanitizer does not know fences
#else
    std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
    return idle();
  }

 private:
  [[nodiscard]] bool idle() const {
    const std::size_t n = count_.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < n; ++i) {
      const Slot* s = slots_[i].load(std::memory_order_relaxed);
      if (s->inflight[0].load(std::memory_order_acquire) != 0 || s->inflight[1].load(std::memory_order_acquire) != 0)
        return false;
    }
    return true;
  }
  void wait_busy() IOMMUFD_EXCLUDES(mu_);

  std::atomic<u64> epoch_{0};
  std::atomic<std::size_t> count_{0};
  std::array<std::atomic<Slot*>, kMaxDevices> slots_{};
  Mutex mu_{LockRank::kDma};  // one advance at a time
};

}  // namespace iommufd::mem

// SPDX-License-Identifier: BSD-3-Clause
// Waiting for DMA in flight. A device touches memory only inside a Transaction of its DmaEpoch; whoever has cleared a
// translation or unpinned a frame waits for the devices that may have used it, and afterwards no transaction of theirs that
// began before is still running. With idle devices nothing is waited for and nothing shared is written.
//
// How: a device counts its transactions by the parity of an epoch of its own. wait() advances the epoch and waits until the
// count of the old parity is zero. A transaction looks at the epoch again after it has counted itself, so one that is counted
// under the new parity began after the advance and sees what was cleared before it.
#pragma once

#include <array>
#include <atomic>

#include "base/fence.hpp"
#include "base/sync.hpp"
#include "base/types.hpp"

namespace iommufd::mem {

// The transactions of one device. Thread-safe; a device may have several at once.
class alignas(64) DmaEpoch {
 public:
  DmaEpoch() = default;
  DmaEpoch(const DmaEpoch&) = delete;
  DmaEpoch& operator=(const DmaEpoch&) = delete;

  class Transaction {
   public:
    explicit Transaction(DmaEpoch& device) {
      for (;;) {
        const u64 epoch = device.epoch_.load(std::memory_order_seq_cst);
        count_ = &device.inflight_[epoch & 1];
        count_->fetch_add(1, std::memory_order_seq_cst);
        if (device.epoch_.load(std::memory_order_seq_cst) == epoch) [[likely]]
          return;
        count_->fetch_sub(1, std::memory_order_release);
      }
    }
    ~Transaction() { count_->fetch_add((tally_ << kTallyShift) - 1, std::memory_order_release); }
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;

    // Something that the device counts, added to its tally with the write that ends the transaction.
    void count(u64 n) { tally_ += n; }

   private:
    std::atomic<u64>* count_;
    u64 tally_ = 0;
  };

  // Returns when no transaction that began before is left. Pre: full_fence() since what they may have used was cleared; the
  // thread is in no transaction of this device.
  void wait() IOMMUFD_EXCLUDES(mu_) {
    if (!idle()) [[unlikely]]
      wait_busy();
  }
  [[nodiscard]] bool idle() const {
    return running(inflight_[0].load(std::memory_order_acquire)) == 0 &&
           running(inflight_[1].load(std::memory_order_acquire)) == 0;
  }
  // What transactions have counted, modulo 2^48.
  [[nodiscard]] u64 tally() const {
    const u64 sum = (inflight_[0].load(std::memory_order_relaxed) >> kTallyShift) +
                    (inflight_[1].load(std::memory_order_relaxed) >> kTallyShift);
    return sum & (~u64{0} >> kTallyShift);
  }

 private:
  friend class DmaBarrier;
  static constexpr unsigned kTallyShift =
      16;  // of an element of inflight_: below it the transactions, above it their tally
  static constexpr u64 running(u64 word) { return word & ((u64{1} << kTallyShift) - 1); }
  void wait_busy() IOMMUFD_EXCLUDES(mu_);

  std::atomic<u64> epoch_{0};
  std::array<std::atomic<u64>, 2> inflight_{};
  DmaEpoch* next_ = nullptr;  // in a barrier
  Mutex mu_{LockRank::kDma};  // one advance at a time
};

// Several devices to wait for. Thread-safe.
class DmaBarrier {
 public:
  DmaBarrier() = default;
  DmaBarrier(const DmaBarrier&) = delete;
  DmaBarrier& operator=(const DmaBarrier&) = delete;

  // Pre: `device` is in no barrier, has had no transaction, and outlives the use of this one; nobody waits meanwhile.
  void add(DmaEpoch& device);
  // Waits for every device. Never inside a transaction of one of them.
  void wait();
  // True when there is nothing to wait for.
  [[nodiscard]] bool quiet() const;

 private:
  std::atomic<DmaEpoch*> first_{nullptr};
};

}  // namespace iommufd::mem

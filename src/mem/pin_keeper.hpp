// SPDX-License-Identifier: BSD-3-Clause
// Who sees to it that pages a real device may write to stay pinned for as long as it may: also when this process is killed.
// Thread-safe.
#pragma once

#include <atomic>

#include "base/result.hpp"
#include "base/types.hpp"

namespace iommufd::mem {

class PinKeeper {
 public:
  virtual ~PinKeeper() = default;
  // Before anything is pinned by way of `descriptor`: it is kept open elsewhere, too. Errors: the keeper is gone.
  virtual Result<void> hold(int descriptor) = 0;
  // From now on no pin may be given back.
  [[nodiscard]] bool keeps() const { return keeps_.load(std::memory_order_acquire); }
  // How many pages are pinned now.
  [[nodiscard]] u64 pinned() const { return pinned_.load(std::memory_order_relaxed); }
  void count(s64 pages) { pinned_.fetch_add(static_cast<u64>(pages), std::memory_order_relaxed); }

 protected:
  void keep() { keeps_.store(true, std::memory_order_release); }

 private:
  std::atomic<bool> keeps_{false};
  std::atomic<u64> pinned_{0};
};

}  // namespace iommufd::mem

// SPDX-License-Identifier: BSD-3-Clause
// A fence that orders everything before it and after it, also a store and a later load.
#pragma once

#include <atomic>

namespace iommufd {

inline void full_fence() {
#if defined(__SANITIZE_THREAD__)
  static std::atomic<unsigned> order{0};  // the sanitizer does not know fences
  order.fetch_add(1, std::memory_order_seq_cst);
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

}  // namespace iommufd

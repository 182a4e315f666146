// SPDX-License-Identifier: BSD-3-Clause
#include "mem/account.hpp"

#include "base/explain.hpp"
#include "base/fault_point.hpp"

namespace iommufd::mem {

Result<void> Account::charge(u64 pages, u64 limit_pages) {
  IOMMUFD_TRY(fault::point(Errno::kNoMem));
  u64 now = pages_.load(std::memory_order_relaxed);
  do {
    if (limit_pages != kUnlimitedPages && (now > limit_pages || pages > limit_pages - now))
      return reject(Errno::kNoMem, {"locked pages", now + pages,
                                    "would pass RLIMIT_MEMLOCK (ulimit -l, or run --memlock=)", "iommufd-core 4.4"});
  } while (!pages_.compare_exchange_weak(now, now + pages, std::memory_order_relaxed));
  return {};
}

}  // namespace iommufd::mem

// SPDX-License-Identifier: BSD-3-Clause
// Fault injection: the places where an unlucky machine fails (memory, pins, limits, lookups) count themselves, and the one that
// was asked for fails, once. As the kernel's /proc/PID/task/TID/fail-nth has it (spec selftest-abi 9, 10.3).
//
// Per thread: arm() concerns what this thread does next. Costs one load of a thread-local word where nothing is armed.
#pragma once

#include <utility>

#include "base/result.hpp"
#include "base/types.hpp"

namespace iommufd::fault {

namespace detail {
inline constinit thread_local u64 t_left = 0;  // points up to the one that fails; 0: none fails
}

// The nth point from here on fails (1: the next one). 0: none.
inline void arm(u64 nth) { detail::t_left = nth; }
// Ends it. Returns how many points were missing; 0: it has failed (or none was asked for).
inline u64 disarm() { return std::exchange(detail::t_left, 0); }

// To be asked at a point: must it fail?
inline bool strikes() {
  if (detail::t_left == 0) [[likely]]
    return false;
  --detail::t_left;
  return detail::t_left == 0;
}

// A point of a function that returns a Result.
inline Result<void> point(Errno error) {
  if (strikes()) [[unlikely]]
    return Err(error);
  return {};
}

}  // namespace iommufd::fault

// SPDX-License-Identifier: BSD-3-Clause
// How a notified call ends.
#pragma once

#include "base/result.hpp"
#include "base/types.hpp"

namespace iommufd::run {

struct Answer {
  enum class Kind : u8 {
    kGoOn,  // not ours: the kernel does the call
    kValue,
    kError,
  };
  Kind kind = Kind::kGoOn;
  s64 value = 0;
  Errno error = Errno::kInval;

  static Answer go_on() { return {}; }
  static Answer of(s64 value) { return {Kind::kValue, value, {}}; }
  static Answer fail(Errno e) { return {Kind::kError, 0, e}; }
  static Answer from(const Result<u64>& r) { return r ? of(static_cast<s64>(*r)) : fail(r.error()); }
  static Answer from(const Result<s64>& r) { return r ? of(*r) : fail(r.error()); }
  static Answer from(const Result<void>& r) { return r ? of(0) : fail(r.error()); }
};

}  // namespace iommufd::run

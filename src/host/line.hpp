// SPDX-License-Identifier: BSD-3-Clause
// The INTx line of a function, where a driver of the kernel serves it: it masks the line when that is asserted, and tells us.
#pragma once

#include <functional>

#include "base/result.hpp"

namespace iommufd::host {

class Line {
 public:
  Line() = default;
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;
  virtual ~Line() = default;

  // From now on `fired` is called, on a thread of ours, when the line is asserted (also when it is already), and then not before the
  // next arm(). One call of start() or stop() at a time. Errors: the driver's.
  virtual Result<void> start(std::function<void()> fired) = 0;
  // Thread-safe; nothing when it is armed or stopped.
  virtual void arm() = 0;
  // When it returns, `fired` is not running, and will not be called.
  virtual void stop() = 0;
};

}  // namespace iommufd::host

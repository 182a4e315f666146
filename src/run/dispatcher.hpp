// SPDX-License-Identifier: BSD-3-Clause
// From a notification to its answer.
#pragma once

#include <optional>

#include "run/path_calls.hpp"
#include "run/runtime.hpp"

namespace iommufd::run {

class Dispatcher {
 public:
  explicit Dispatcher(const Runtime& runtime) : runtime_(runtime), paths_(runtime) {}

  // Thread-safe. Releases what was closed, finds out whom the call concerns, and says how it ends; nothing when it has ended
  // already, because the caller was held. bad_alloc becomes ENOMEM.
  std::optional<Answer> handle(const Notification& notification);

 private:
  Answer answer(CallScope& scope);
  const Runtime& runtime_;
  PathCalls paths_;
};

}  // namespace iommufd::run

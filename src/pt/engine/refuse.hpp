// SPDX-License-Identifier: BSD-3-Clause
// Refusals of the engine: out of the hot path, and with the reason that `run --explain` prints.
#pragma once

#include "base/explain.hpp"

namespace iommufd::pt {

[[gnu::cold, gnu::noinline]] inline Err refuse(Errno e, const char* field, u64 value, const char* rule) {
  return reject(e, {field, value, rule, "page-table-formats 8"});
}

}  // namespace iommufd::pt

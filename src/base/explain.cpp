// SPDX-License-Identifier: BSD-3-Clause
#include "base/explain.hpp"

namespace iommufd {
namespace {
thread_local Reason t_reason;
}  // namespace

const Reason& last_reason() { return t_reason; }
void clear_reason() { t_reason = {}; }
void set_reason(const Reason& reason) { t_reason = reason; }

}  // namespace iommufd

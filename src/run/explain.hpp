// SPDX-License-Identifier: BSD-3-Clause
// The line of --explain: which rule a failing ioctl broke.
#pragma once

#include "run/client_call.hpp"

namespace iommufd::run {

// Prints it, with the reason that this thread gave last (base/explain.hpp).
void explain_failure(ClientCall& call, const OpenFile& file, u32 command, Errno error);

}  // namespace iommufd::run

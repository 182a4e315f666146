// SPDX-License-Identifier: BSD-3-Clause
// The server process: owns the service, starts the client, answers its calls, and lives until the last filtered process
// is gone. It must not die before: a notified call without a listener answers ENOSYS.
#pragma once

#include <csignal>

#include "base/fd.hpp"
#include "run/run.hpp"

namespace iommufd::run {

// Pre: in a fresh child of the front, with one thread, all signals blocked; `client_mask` is what PROGRAM starts with.
// Returns the exit code of the server process.
int serve(const Options& options, const MakeService& make_service, Fd front, const sigset_t& client_mask);

}  // namespace iommufd::run

// SPDX-License-Identifier: BSD-3-Clause
// The runner: starts PROGRAM so that its calls on our files are answered here.
//
//   front   what the shell sees: relays signals, ends as PROGRAM ends
//     └ server   owns the service; subreaper of everything below; never filtered; lives until the last filtered process
//                is gone
//         └ client   no_new_privs + seccomp filter, then exec of PROGRAM
#pragma once

#include "run/options.hpp"
#include "run/service.hpp"

namespace iommufd::run {

// Runs PROGRAM to its end. Pre: the calling process has one thread and may be given signal handlers. Returns the exit
// code of PROGRAM or one of options.hpp; does not return, but dies by the same signal, when PROGRAM was killed by one.
int run(const Options& options, const MakeService& make_service);

}  // namespace iommufd::run

// SPDX-License-Identifier: BSD-3-Clause
// The client side of a start: becoming PROGRAM, with the filter in place.
#pragma once

#include <csignal>

#include <string>
#include <vector>

#include "base/fd.hpp"
#include "run/options.hpp"
#include "run/path_view.hpp"

namespace iommufd::run {

// What is needed to become PROGRAM.
struct Program {
  std::string file;               // where PATH found it; the name itself when it has a slash or was not found
  std::vector<const char*> argv;  // ends with null; points into the options
  sigset_t signal_mask;           // as it was when we were started
  HugetlbPolicy hugetlb;

  // Searches PATH as execvp(3) does. `options` outlive the result.
  static Program find(const Options& options, const sigset_t& signal_mask);
};

// Enters the view, installs the filter, hands the listener to the server and becomes PROGRAM; reports to the server and
// exits when it cannot. Pre: in a fresh child of the server, with one thread.
[[noreturn]] void become(const Program& program, const PathView& view, const Fd& server, pid_t server_pid);

}  // namespace iommufd::run

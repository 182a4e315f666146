// SPDX-License-Identifier: BSD-3-Clause
// /proc/PID/status: the processes that it names, and that of a client as a kernel that pins for it would show it: VmPin and
// VmLck count what the engine has pinned and locked in the name of the process (spec iommufd-core 4.4). Everything else is the
// machine's file, read at that moment.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "run/client_process.hpp"

namespace iommufd::run {

// The process that a line of /proc/TID/status names, such as "Tgid" or "PPid". Errors: those of open and read; kSrch when
// it names none.
Result<pid_t> status_id(pid_t tid, std::string_view key);

// A file of a process or of a thread in /proc: /proc/PID/NAME or /proc/PID/task/TID/NAME, where PID and TID may be `self`.
struct ProcPath {
  pid_t process = 0;  // 0: the caller
  pid_t thread = 0;   // 0: none is named, or the caller
  bool of_thread = false;
};
// Nothing when it is another path. It has no symlinks, no `..` and no empty names.
std::optional<ProcPath> parse_proc_path(std::string_view path, std::string_view name);

// `text`, the content of such a `status`, with the pages of `process` added. With kReal the kernel has counted pins itself.
std::string add_pins(std::string text, mem::Process& process, PinPolicy pin);

}  // namespace iommufd::run

// SPDX-License-Identifier: BSD-3-Clause
#include "run/explain.hpp"

#include <fmt/format.h>

#include "base/explain.hpp"
#include "run/message.hpp"

namespace iommufd::run {

void explain_failure(ClientCall& call, const OpenFile& file, u32 command, Errno error) {
  const char* known = file.file().command_name(command);
  const std::string name = known != nullptr ? known : fmt::format("ioctl {:#x}", command);
  std::string line = fmt::format("explain: {} {} {} = {}", call.describe(), file.path(), name, errno_name(error));
  if (const Reason& r = last_reason(); r.rule != nullptr) {
    line += fmt::format(": {}", r.rule);
    if (r.field != nullptr) line += fmt::format(" ({} = {:#x})", r.field, r.value);
    if (r.section != nullptr) line += fmt::format(" [{}]", r.section);
  }
  message(line);
}

}  // namespace iommufd::run

// SPDX-License-Identifier: BSD-3-Clause
#include "run/message.hpp"

#include <unistd.h>

#include <string>

namespace iommufd::run {

void message(std::string_view text) {
  std::string line = "iommufd-user: ";
  line += text;
  line += '\n';
  (void)!::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace iommufd::run

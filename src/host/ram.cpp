// SPDX-License-Identifier: BSD-3-Clause
#include "host/ram.hpp"

#include <algorithm>
#include <iomanip>
#include <sstream>
#include <string>

#include "base/sys.hpp"

namespace iommufd::host {

u64 ram_end() {
  constexpr u64 kUnknown = u64{1} << 46;
  u64 end = 0;
  std::istringstream lines(sys::read_file("/proc/iomem").value_or(""));
  for (std::string line; std::getline(lines, line);) {
    if (!line.ends_with(" : System RAM")) continue;
    std::istringstream range(line.substr(0, line.find(' ')));
    u64 first = 0, last = 0;
    char dash = 0;
    if (range >> std::hex >> first >> dash >> last && last != 0) end = std::max(end, last + 1);
  }
  return end == 0 ? kUnknown : std::min(end, kUnknown);
}

}  // namespace iommufd::host

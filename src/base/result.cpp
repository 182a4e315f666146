// SPDX-License-Identifier: BSD-3-Clause
#include "base/result.hpp"

#include <cstring>

namespace iommufd {

const char* errno_name(Errno e) {
  const char* name = strerrorname_np(static_cast<int>(e));
  return name != nullptr ? name : "unknown errno";
}

}  // namespace iommufd

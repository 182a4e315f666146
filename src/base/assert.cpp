// SPDX-License-Identifier: BSD-3-Clause
#include "base/assert.hpp"

#include <cstdio>
#include <cstdlib>

namespace iommufd {

void assert_failed(const char* what, const char* file, int line) {
  std::fprintf(stderr, "iommufd-user: bug: %s does not hold (%s:%d)\n", what, file, line);
  std::abort();
}

}  // namespace iommufd

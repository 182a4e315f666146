// SPDX-License-Identifier: BSD-3-Clause
#include "base/assert.hpp"

#include <cstdio>
#include <cstdlib>

#if __has_include(<sanitizer/common_interface_defs.h>) && (defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__))
#include <sanitizer/common_interface_defs.h>
#define IOMMUFD_HAS_STACK_TRACE
#endif

namespace iommufd {

void assert_failed(const char* what, const char* file, int line) {
  std::fprintf(stderr, "iommufd-user: bug: %s does not hold (%s:%d)\n", what, file, line);
#ifdef IOMMUFD_HAS_STACK_TRACE
  __sanitizer_print_stack_trace();
#endif
  std::abort();
}

}  // namespace iommufd

// SPDX-License-Identifier: BSD-3-Clause
// IOMMUFD_ASSERT states what only our own bug can break; it is always on. Caller input never asserts.
#pragma once

namespace iommufd {
[[noreturn]] void assert_failed(const char* what, const char* file, int line);
}  // namespace iommufd

#define IOMMUFD_ASSERT(cond)                               \
  do {                                                     \
    if (!(cond)) [[unlikely]]                              \
      ::iommufd::assert_failed(#cond, __FILE__, __LINE__); \
  } while (false)

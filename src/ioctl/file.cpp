// SPDX-License-Identifier: BSD-3-Clause
#include "ioctl/file.hpp"

#include <unistd.h>

namespace iommufd::ioctl {

Result<u64> seek_anywhere(const SeekRequest& request) {
  s64 base = 0;
  switch (request.whence) {
    case SEEK_SET: break;
    case SEEK_CUR: base = static_cast<s64>(request.position); break;
    case SEEK_END: base = static_cast<s64>(request.size); break;
    default: return Err(Errno::kInval);
  }
  s64 to = 0;
  if (__builtin_add_overflow(base, request.offset, &to)) return Err(Errno::kOverflow);
  if (to < 0) return Err(Errno::kInval);
  return static_cast<u64>(to);
}

}  // namespace iommufd::ioctl

// SPDX-License-Identifier: BSD-3-Clause
#include "base/fd.hpp"

#include <unistd.h>

namespace iommufd {

void Fd::reset(int fd) noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

}  // namespace iommufd

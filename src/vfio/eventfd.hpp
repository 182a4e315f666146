// SPDX-License-Identifier: BSD-3-Clause
// An eventfd of a client, as an interrupt is signalled into it.
#pragma once

#include "base/fd.hpp"
#include "base/result.hpp"

namespace iommufd::vfio {

class Eventfd {
 public:
  // Takes over a descriptor. Errors: kInval when it is not an eventfd.
  static Result<Eventfd> adopt(Fd fd);

  // Adds 1. A counter that is full stays full, as the kernel's own signal does. Never blocks: the client's descriptor
  // may be a blocking one, so a full counter is seen before the write.
  void signal() const;
  [[nodiscard]] Fd release() && { return std::move(fd_); }

 private:
  explicit Eventfd(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace iommufd::vfio

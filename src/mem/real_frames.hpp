// SPDX-License-Identifier: BSD-3-Clause
// The physical frames that pages of a process really have, from /proc/PID/pagemap (Linux Documentation/admin-guide/mm/pagemap.rst),
// read many at a time. What is said there holds for as long as the pages are pinned.
#pragma once

#include <span>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "base/types.hpp"

namespace iommufd::mem {

class RealFrames {
 public:
  // Of a process or thread, by its number; it keeps speaking of the memory that this one has now. Errors: those of open.
  static Result<RealFrames> open(pid_t pid);

  // The frames of out.size() pages from `page` on. Errors: kFault (a page is not there), kPerm (frames are hidden from us: that takes
  // CAP_SYS_ADMIN in the first user namespace), those of read.
  Result<void> read(UserVa page, std::span<PhysAddr> out) const;

 private:
  explicit RealFrames(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace iommufd::mem

// SPDX-License-Identifier: BSD-3-Clause
#include "mem/real_frames.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/sys.hpp"

namespace iommufd::mem {
namespace {

constexpr u64 kPresent = u64{1} << 63, kSwapped = u64{1} << 62, kFrameMask = (u64{1} << 55) - 1;

}  // namespace

Result<RealFrames> RealFrames::open(pid_t pid) {
  const std::string path = fmt::format("/proc/{}/pagemap", pid);
  return RealFrames(Fd(IOMMUFD_TRY(sys::check(::open(path.c_str(), O_RDONLY | O_CLOEXEC)))));
}

Result<void> RealFrames::read(UserVa page, std::span<PhysAddr> out) const {
  std::array<u64, 512> entries;
  for (std::size_t done = 0; done < out.size();) {
    const std::size_t n = std::min(entries.size(), out.size() - done);
    const u64 at = (page.raw() / kPageSize + done) * sizeof(u64);
    const ssize_t got =
        IOMMUFD_TRY(sys::check(::pread(fd_.get(), entries.data(), n * sizeof(u64), static_cast<off_t>(at))));
    if (static_cast<std::size_t>(got) != n * sizeof(u64)) return Err(Errno::kFault);
    for (std::size_t i = 0; i < n; ++i) {
      if ((entries[i] & kPresent) == 0 || (entries[i] & kSwapped) != 0) return Err(Errno::kFault);
      const u64 frame = entries[i] & kFrameMask;
      if (frame == 0) return Err(Errno::kPerm);
      out[done + i] = PhysAddr{frame << kPageShift};
    }
    done += n;
  }
  return {};
}

}  // namespace iommufd::mem

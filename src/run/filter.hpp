// SPDX-License-Identifier: BSD-3-Clause
// Which system calls of a client are notified to the server: a table of rules, and the seccomp program made of it.
//
// The rules see numbers only, never memory. A call that a rule lets through costs the client some 30-60 ns, or nothing
// when no argument matters for it; a notified one costs a round trip. The server then finds out whether the call
// concerns us at all and lets it go on otherwise.
#pragma once

#include <linux/filter.h>

#include <optional>
#include <span>
#include <vector>

#include "base/types.hpp"
#include "run/options.hpp"

namespace iommufd::run {

// Our descriptors are installed at numbers from here on, so that calls on smaller ones need no notification.
inline constexpr u32 kFirstFd = 512;

// A flag that Linux ignores (MAP_DENYWRITE): mmap with it is not notified for emulated huge pages. The dynamic linker sets it, and
// so do calls that we inject.
inline constexpr u32 kPassingMapFlag = 0x800;

struct Rule {
  static constexpr int kNone = -1;
  const char* name;        // of the system call
  u32 number;              // x86-64
  int fd_arg = kNone;      // notified when this argument is a descriptor in [kFirstFd, 2^31)
  int offset_arg = kNone;  // ... or when this one is a file offset at or above vfio::kRegionBase
  int type_arg = kNone;    // ... or when this one is an ioctl command of type ';'
  int flag_arg = kNone;    // ... or when this one has a bit of `flags`
  u32 flags = 0;
  u32 passing_flags = 0;  // not 0: fd_arg may also be below kFirstFd, unless flag_arg has one of these
  [[nodiscard]] constexpr bool always() const {
    return fd_arg == kNone && offset_arg == kNone && type_arg == kNone && flag_arg == kNone;
  }
};

// All rules, in rising order of number. Emulated huge pages (huge_pool.hpp) add some, and let mmap be notified for each file.
std::vector<Rule> filter_rules(HugetlbPolicy::Kind hugetlb = HugetlbPolicy::Kind::kReal);

// The program: notify what the rules say, ENOTTY for iommufd's ioctls through the i386 and x32 entries (the kernel has no
// compat entry for them either), allow everything else.
std::vector<sock_filter> build_filter(HugetlbPolicy::Kind hugetlb = HugetlbPolicy::Kind::kReal);

}  // namespace iommufd::run

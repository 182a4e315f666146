// SPDX-License-Identifier: BSD-3-Clause
// What stat and statx answer about our files.
#pragma once

#include <sys/stat.h>

#include "base/result.hpp"
#include "base/types.hpp"

namespace iommufd::run {

// struct statx of the uapi (glibc's header and the kernel's cannot be included together).
struct StatxTime {
  s64 sec = 0;
  u32 nsec = 0;
  s32 reserved = 0;
};
struct Statx {
  u32 mask = 0;
  u32 blksize = 0;
  u64 attributes = 0;
  u32 nlink = 0;
  u32 uid = 0;
  u32 gid = 0;
  u16 mode = 0;
  u16 spare0 = 0;
  u64 ino = 0;
  u64 size = 0;
  u64 blocks = 0;
  u64 attributes_mask = 0;
  StatxTime atime, btime, ctime, mtime;
  u32 rdev_major = 0;
  u32 rdev_minor = 0;
  u32 dev_major = 0;
  u32 dev_minor = 0;
  u64 spare[14] = {};
};
static_assert(sizeof(Statx) == 256);

// What the bits of a node let its owner do; `wanted` as for access(2). Errors: kInval, kAcces.
Result<void> check_access(const struct stat& st, u32 wanted);

Statx statx_of(const struct stat& st);

}  // namespace iommufd::run

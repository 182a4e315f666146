// SPDX-License-Identifier: BSD-3-Clause
#include "run/attributes.hpp"

#include <sys/sysmacros.h>
#include <unistd.h>

namespace iommufd::run {
namespace {

constexpr u32 kBasicStats = 0x7ff;  // STATX_BASIC_STATS

StatxTime time_of(const timespec& t) { return {t.tv_sec, static_cast<u32>(t.tv_nsec), 0}; }

}  // namespace

Result<void> check_access(const struct stat& st, u32 wanted) {
  if ((wanted & ~u32{R_OK | W_OK | X_OK}) != 0) return Err(Errno::kInval);
  const bool read = (st.st_mode & 0444) != 0, write = (st.st_mode & 0222) != 0, execute = (st.st_mode & 0111) != 0;
  if (((wanted & R_OK) != 0 && !read) || ((wanted & W_OK) != 0 && !write) || ((wanted & X_OK) != 0 && !execute))
    return Err(Errno::kAcces);
  return {};
}

Statx statx_of(const struct stat& st) {
  Statx x;
  x.mask = kBasicStats;
  x.blksize = static_cast<u32>(st.st_blksize);
  x.nlink = static_cast<u32>(st.st_nlink);
  x.uid = st.st_uid;
  x.gid = st.st_gid;
  x.mode = static_cast<u16>(st.st_mode);
  x.ino = st.st_ino;
  x.size = static_cast<u64>(st.st_size);
  x.blocks = static_cast<u64>(st.st_blocks);
  x.atime = time_of(st.st_atim);
  x.ctime = time_of(st.st_ctim);
  x.mtime = time_of(st.st_mtim);
  x.rdev_major = major(st.st_rdev);
  x.rdev_minor = minor(st.st_rdev);
  x.dev_major = major(st.st_dev);
  x.dev_minor = minor(st.st_dev);
  return x;
}

}  // namespace iommufd::run

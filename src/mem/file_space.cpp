// SPDX-License-Identifier: BSD-3-Clause
#include "mem/file_space.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "base/explain.hpp"
#include "base/sync.hpp"
#include "base/sys.hpp"

namespace iommufd::mem {
namespace {

Mutex g_mu{LockRank::kLeaf};
std::map<std::pair<dev_t, ino_t>, u64> g_ids IOMMUFD_GUARDED_BY(g_mu);
// Files count down from the top, address spaces up from 1: they never meet.
u64 g_next IOMMUFD_GUARDED_BY(g_mu) = ~u64{0};

}  // namespace

u64 file_space_id(dev_t dev, ino_t inode) {
  const MutexLock lock(g_mu);
  const auto [it, fresh] = g_ids.try_emplace({dev, inode}, g_next);
  if (fresh) --g_next;
  return it->second;
}

std::optional<u64> dma_buf_size(const Fd& file) {
  struct statfs fs{};
  if (::fstatfs(file.get(), &fs) != 0 || fs.f_type != DMA_BUF_MAGIC) return std::nullopt;
  const off_t size = ::lseek(file.get(), 0, SEEK_END);  // all that its position is for
  return size < 0 ? 0 : static_cast<u64>(size);
}

Result<FilePages> allocate_pages(const Fd& file, u64 start, u64 count) {
  const int fd = file.get();
  struct statfs fs{};
  struct stat st{};
  IOMMUFD_TRY(sys::ok(::fstatfs(fd, &fs)));
  IOMMUFD_TRY(sys::ok(::fstat(fd, &st)));
  const bool huge = fs.f_type == HUGETLBFS_MAGIC;
  if (!S_ISREG(st.st_mode) || (fs.f_type != TMPFS_MAGIC && !huge))
    return reject(Errno::kInval, {"fd", static_cast<u64>(fs.f_type), "must be a memfd, a tmpfs or a hugetlbfs file",
                                  "iommufd-core 3.6"});
  const u64 end = start + count * kPageSize;
  if (end > static_cast<u64>(st.st_size))
    return reject(Errno::kInval, {"start + length", end, "the last page must lie inside the file", "iommufd-core 3.6"});
  if (::fallocate(fd, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(start), static_cast<off_t>(count * kPageSize)) != 0 &&
      errno == ENOSPC)
    return Err(Errno::kNoMem);
  return FilePages{PageKey{file_space_id(st.st_dev, st.st_ino), start >> kPageShift},
                   huge ? static_cast<u64>(fs.f_bsize) : kPageSize};
}

Result<std::size_t> FileSpace::read_some(UserVa from, std::span<std::byte> buf) {
  return file_->read_some(from.raw(), buf);
}

Result<std::size_t> FileSpace::write_some(UserVa to, std::span<const std::byte> buf) {
  return file_->write_some(to.raw(), buf);
}

Result<void> FileSpace::populate(UserVa page, u64 count, Access, std::vector<PageRun>& out) {
  const FilePages pages = IOMMUFD_TRY(allocate_pages(file_->fd(), page.raw(), count));
  file_->map(page.raw() + count * kPageSize);
  out.push_back({pages.first, count, std::max(pages.page_size, seen_page_size_)});
  return {};
}

}  // namespace iommufd::mem

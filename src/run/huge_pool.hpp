// SPDX-License-Identifier: BSD-3-Clause
// Huge pages for programs that insist on them, on machines that have none (--hugetlb=emulate): ordinary memfds that are mapped
// at multiples of 2 MiB, and whose simulated frames are contiguous for each 2 MiB. The pool counts them as the kernel counts
// its huge pages; it has as many as the option says.
//
// A file of the pool is known by its inode. It is the clients' alone; when the last descriptor and mapping are gone, inotify says
// so, and its pages are free again. Pages are taken when they are mapped, not when they are touched.
//
// Lock: mu_ (kLeaf).
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <unordered_map>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "base/sync.hpp"
#include "base/types.hpp"

namespace iommufd::run {

class HugePool {
 public:
  static constexpr u64 kPageBytes = u64{2} << 20;

  // Errors: those of inotify_init.
  static Result<std::unique_ptr<HugePool>> create(u64 bytes);

  // A memfd of the pool. `flags` as for memfd_create, without MFD_HUGETLB. Errors: those of memfd_create.
  Result<Fd> make_file(const char* name, unsigned flags) IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] bool contains(dev_t device, ino_t inode) const IOMMUFD_EXCLUDES(mu_);
  // The page size that the owner of the file sees: 2 MiB for those of the pool.
  [[nodiscard]] u64 page_size(dev_t device, ino_t inode) const {
    return contains(device, inode) ? kPageBytes : kPageSize;
  }
  // [0, end) of a file of the pool is about to be mapped. Errors: kNoMem (the pool has not as many).
  Result<void> take(dev_t device, ino_t inode, u64 end) IOMMUFD_EXCLUDES(mu_);
  // The file is cut to `size`.
  void cut(dev_t device, ino_t inode, u64 size) IOMMUFD_EXCLUDES(mu_);

  // The pool is to have so many pages; those that are taken stay.
  void resize(u64 pages) IOMMUFD_EXCLUDES(mu_);

  struct Counts {
    u64 total = 0;  // pages
    u64 free = 0;
  };
  [[nodiscard]] Counts counts() IOMMUFD_EXCLUDES(mu_);

 private:
  using Key = std::pair<dev_t, ino_t>;
  struct File {
    u64 pages = 0;  // taken
    int watch = -1;
  };
  HugePool(u64 pages, Fd inotify) : inotify_(std::move(inotify)), total_(pages) {}
  // Forgets files that are gone.
  void drain_locked() IOMMUFD_REQUIRES(mu_);

  const Fd inotify_;
  mutable Mutex mu_{LockRank::kLeaf};
  u64 total_ IOMMUFD_GUARDED_BY(mu_);
  u64 taken_ IOMMUFD_GUARDED_BY(mu_) = 0;
  std::map<Key, File> files_ IOMMUFD_GUARDED_BY(mu_);
  std::unordered_map<int, Key> by_watch_ IOMMUFD_GUARDED_BY(mu_);
};

}  // namespace iommufd::run

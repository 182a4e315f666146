// SPDX-License-Identifier: BSD-3-Clause
#include "run/huge_pool.hpp"

#include <fmt/format.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/sys.hpp"

namespace iommufd::run {

Result<std::unique_ptr<HugePool>> HugePool::create(u64 bytes) {
  Fd inotify(IOMMUFD_TRY(sys::check(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC))));
  return std::unique_ptr<HugePool>(new HugePool(bytes / kPageBytes, std::move(inotify)));
}

Result<Fd> HugePool::make_file(const char* name, unsigned flags) {
  Fd file(IOMMUFD_TRY(sys::check(::memfd_create(name, flags | MFD_CLOEXEC))));
  struct stat st{};
  IOMMUFD_TRY(sys::ok(::fstat(file.get(), &st)));
  const std::string path = fmt::format("/proc/self/fd/{}", file.get());
  const MutexLock lock(mu_);
  drain_locked();
  const int watch = IOMMUFD_TRY(sys::check(::inotify_add_watch(inotify_.get(), path.c_str(), IN_DELETE_SELF)));
  const Key key{st.st_dev, st.st_ino};
  files_[key] = {0, watch};
  by_watch_[watch] = key;
  return file;
}

bool HugePool::contains(dev_t device, ino_t inode) const {
  const MutexLock lock(mu_);
  return files_.contains({device, inode});
}

void HugePool::drain_locked() {
  alignas(inotify_event) std::array<char, 4096> buf;
  for (;;) {
    const ssize_t n = ::read(inotify_.get(), buf.data(), buf.size());
    if (n <= 0) return;
    for (std::size_t at = 0; at < static_cast<std::size_t>(n);) {
      inotify_event event{};
      std::memcpy(&event, buf.data() + at, sizeof event);
      at += sizeof event + event.len;
      const auto gone = by_watch_.find(event.wd);
      if (gone == by_watch_.end()) continue;
      const auto file = files_.find(gone->second);
      taken_ -= file->second.pages;
      files_.erase(file);
      by_watch_.erase(gone);
    }
  }
}

Result<void> HugePool::take(dev_t device, ino_t inode, u64 end) {
  const MutexLock lock(mu_);
  drain_locked();
  const auto file = files_.find({device, inode});
  const u64 pages = div_round_up(end, kPageBytes);
  if (file == files_.end() || pages <= file->second.pages) return {};
  const u64 more = pages - file->second.pages;
  if (more > total_ - taken_) return Err(Errno::kNoMem);
  taken_ += more;
  file->second.pages = pages;
  return {};
}

void HugePool::cut(dev_t device, ino_t inode, u64 size) {
  const MutexLock lock(mu_);
  const auto file = files_.find({device, inode});
  const u64 pages = size / kPageBytes;
  if (file == files_.end() || pages >= file->second.pages) return;
  taken_ -= file->second.pages - pages;
  file->second.pages = pages;
}

void HugePool::resize(u64 pages) {
  const MutexLock lock(mu_);
  drain_locked();
  total_ = std::max(pages, taken_);
}

HugePool::Counts HugePool::counts() {
  const MutexLock lock(mu_);
  drain_locked();
  return {total_, total_ - taken_};
}

}  // namespace iommufd::run

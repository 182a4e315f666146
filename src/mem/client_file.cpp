// SPDX-License-Identifier: BSD-3-Clause
#include "mem/client_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "mem/guarded_copy.hpp"

namespace iommufd::mem {

// The files in use, by inode. An entry lives as long as its object, whose descriptor keeps the inode from being another file's.
class ClientFile::Register {
 public:
  // The object of the file, when it may do what `fresh` may; `fresh`, from now on, otherwise.
  std::shared_ptr<ClientFile> enter(const std::shared_ptr<ClientFile>& fresh) {
    std::shared_ptr<ClientFile> old;  // dropped without the lock
    const MutexLock lock(mu_);
    std::weak_ptr<ClientFile>& entry = files_[fresh->key_];
    old = entry.lock();
    if (old && allows(old->access_, fresh->access_)) return old;
    entry = fresh;
    return fresh;
  }
  std::shared_ptr<ClientFile> find(const Key& key) {
    const MutexLock lock(mu_);
    const auto it = files_.find(key);
    return it == files_.end() ? nullptr : it->second.lock();
  }
  // An object of the file is gone; another one may have taken its place.
  void forget(const Key& key) {
    const MutexLock lock(mu_);
    const auto it = files_.find(key);
    if (it != files_.end() && it->second.expired()) files_.erase(it);
  }
  static Register& instance() {
    static Register& all = *new Register;  // never ends: objects may go at any time
    return all;
  }

 private:
  Mutex mu_{LockRank::kLeaf};
  std::map<Key, std::weak_ptr<ClientFile>> files_ IOMMUFD_GUARDED_BY(mu_);
};

namespace {

Access access_of(const Fd& fd) {
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || (flags & O_PATH) != 0) return Access::kNone;
  const int seals = ::fcntl(fd.get(), F_GET_SEALS);
  const bool sealed = seals >= 0 && (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) != 0;
  switch (flags & O_ACCMODE) {
    case O_RDWR: return sealed ? Access::kRead : Access::kReadWrite;
    case O_WRONLY: return sealed ? Access::kNone : Access::kWrite;
    default: return Access::kRead;
  }
}

u64 page_size_of(const Fd& fd) {
  struct statfs fs{};
  const bool huge = ::fstatfs(fd.get(), &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC;
  return huge ? static_cast<u64>(fs.f_bsize) : kPageSize;
}

u64 size_of(const Fd& fd) {
  struct stat st{};
  return ::fstat(fd.get(), &st) == 0 ? static_cast<u64>(st.st_size) : 0;
}

Fd open_again(Fd fd) {
  const std::string path = fmt::format("/proc/self/fd/{}", fd.get());
  for (const int mode : {O_RDWR, O_RDONLY}) {
    Fd own(::open(path.c_str(), mode | O_CLOEXEC | O_NOCTTY));
    if (own.valid()) return own;
  }
  return fd;
}

}  // namespace

std::shared_ptr<ClientFile> ClientFile::find(dev_t device, ino_t inode) {
  auto file = Register::instance().find({device, inode});
  if (file && file->access_ != Access::kReadWrite) file.reset();
  return file;
}

std::shared_ptr<ClientFile> ClientFile::of(Fd fd) {
  struct stat st{};
  const bool regular = ::fstat(fd.get(), &st) == 0 && S_ISREG(st.st_mode);
  if (!regular) return std::shared_ptr<ClientFile>(new ClientFile(std::move(fd), {}));
  if (std::shared_ptr<ClientFile> known = find(st.st_dev, st.st_ino)) return known;
  return Register::instance().enter(
      std::shared_ptr<ClientFile>(new ClientFile(open_again(std::move(fd)), {st.st_dev, st.st_ino})));
}

ClientFile::ClientFile(Fd fd, Key key)
    : fd_(std::move(fd)), key_(key), access_(access_of(fd_)), page_size_(page_size_of(fd_)) {}

ClientFile::~ClientFile() { Register::instance().forget(key_); }

u64 ClientFile::mapped_end_locked() const {
  return parts_.empty() ? 0 : parts_.back().start + parts_.back().mapping.bytes().size();
}

// Parts double, so that a file that grows page by page has few. A mapping may reach past the end of a file, but not on hugetlbfs, where
// it would make the file longer.
void ClientFile::map(u64 end) {
  if (!copies_are_guarded() || access_ != Access::kReadWrite) return;
  const MutexLock lock(mu_);
  const u64 start = mapped_end_locked();
  if (end <= start) return;
  const u64 size = size_of(fd_);
  const u64 stop =
      page_size_ == kPageSize ? align_up(std::max({end, size, 2 * start}), kPageSize) : align_down(size, page_size_);
  if (stop < end) return;
  Result<sys::Mapping> mapping = sys::Mapping::map(fd_.get(), start, stop - start, Access::kReadWrite);
  if (mapping) parts_.push_back({start, *std::move(mapping)});
}

std::span<std::byte> ClientFile::mapped_from(u64 offset) {
  const MutexLock lock(mu_);
  const auto after = std::ranges::upper_bound(parts_, offset, {}, &Part::start);
  if (after == parts_.begin()) return {};
  const Part& part = *std::prev(after);
  const std::span<std::byte> bytes = part.mapping.bytes();
  return offset - part.start < bytes.size() ? bytes.subspan(offset - part.start) : std::span<std::byte>();
}

std::size_t ClientFile::read_some(u64 offset, std::span<std::byte> buf) {
  std::size_t done = 0;
  while (done < buf.size()) {
    const std::span<std::byte> rest = buf.subspan(done);
    const std::span<std::byte> there = mapped_from(offset + done);
    if (there.empty()) {
      const ssize_t n = ::pread(fd_.get(), rest.data(), rest.size(), static_cast<off_t>(offset + done));
      return n < 0 ? done : done + static_cast<std::size_t>(n);
    }
    const std::size_t want = std::min(rest.size(), there.size());
    const std::size_t n = guarded_copy(rest.data(), there.data(), want);
    done += n;
    if (n != want) break;
  }
  return done;
}

std::size_t ClientFile::write_some(u64 offset, std::span<const std::byte> buf) {
  std::size_t done = 0;
  while (done < buf.size()) {
    const std::span<const std::byte> rest = buf.subspan(done);
    const u64 at = offset + done;
    const std::span<std::byte> there = mapped_from(at);
    if (there.empty()) {
      // A write at the end would make the file longer.
      const u64 size = size_of(fd_);
      if (at >= size) break;
      const std::size_t want = std::min<u64>(rest.size(), size - at);
      const ssize_t n = ::pwrite(fd_.get(), rest.data(), want, static_cast<off_t>(at));
      return n < 0 ? done : done + static_cast<std::size_t>(n);
    }
    const std::size_t want = std::min(rest.size(), there.size());
    const std::size_t n = guarded_copy(there.data(), rest.data(), want);
    done += n;
    if (n != want) break;
  }
  return done;
}

}  // namespace iommufd::mem

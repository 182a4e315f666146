// SPDX-License-Identifier: BSD-3-Clause
#include "run/open_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "base/assert.hpp"
#include "base/rollback.hpp"

namespace iommufd::run {
namespace {

// Every region of a device file lies below this; nothing is allocated until it is touched.
constexpr u64 kFileSize = u64{1} << 45;
// What of the client's open flags the description keeps. The rest is for the name (O_CREAT, O_NOFOLLOW...), or would
// mean something for a memfd that it does not mean for a device (O_DIRECT, O_TRUNC).
constexpr int kKeptFlags = O_ACCMODE | O_NONBLOCK | O_APPEND;

std::string self_fd(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

// How many events one inotify instance holds. Each watched file has at most one close and one "watch removed" in it.
std::size_t files_per_group() {
  std::size_t queue = 16384;
  if (const Result<std::string> text = sys::read_file("/proc/sys/fs/inotify/max_queued_events"))
    std::from_chars(text->data(), text->data() + text->size(), queue);
  return std::max<std::size_t>(queue / 2, 1);
}

}  // namespace

bool OpenMode::readable() const { return (flags & O_ACCMODE) == O_RDONLY || (flags & O_ACCMODE) == O_RDWR; }
bool OpenMode::writable() const { return (flags & O_ACCMODE) == O_WRONLY || (flags & O_ACCMODE) == O_RDWR; }

class OpenFile::Memory final : public vfio::FileMemory {
 public:
  explicit Memory(std::shared_ptr<const Fd> fd) : fd_(std::move(fd)) {}
  Result<sys::Mapping> map(u64 offset, u64 size) override {
    return sys::Mapping::map(fd_->get(), offset, size, Access::kReadWrite);
  }

 private:
  const std::shared_ptr<const Fd> fd_;
};

Result<Ref<OpenFile>> OpenFile::make(const Node& node, std::string path, const struct stat& attributes, OpenMode mode) {
  Ref<OpenFile> file = Ref<OpenFile>::adopt(new OpenFile(&node, std::move(path), attributes, mode));
  IOMMUFD_TRY(file->adopt(IOMMUFD_TRY(sys::make_sealed_memfd(node.name().c_str(), kFileSize))));
  return file;
}

Result<Ref<OpenFile>> OpenFile::make_anonymous(std::string name, u64 size) {
  return make_nameless(std::move(name), 0, size);
}

Result<Ref<OpenFile>> OpenFile::make_anonymous_device(std::string name) {
  return make_nameless(std::move(name), kFileSize, 0);
}

Result<Ref<OpenFile>> OpenFile::make_nameless(std::string name, u64 memory_size, u64 size) {
  struct stat attributes{};
  attributes.st_mode = S_IRUSR | S_IWUSR;
  attributes.st_nlink = 1;
  attributes.st_size = static_cast<off_t>(size);
  attributes.st_blksize = static_cast<blksize_t>(kPageSize);
  Fd memfd = IOMMUFD_TRY(sys::make_sealed_memfd(name.c_str(), memory_size));
  Ref<OpenFile> file = Ref<OpenFile>::adopt(new OpenFile(nullptr, std::move(name), attributes, {O_RDWR}));
  IOMMUFD_TRY(file->adopt(std::move(memfd)));
  return file;
}

Result<Ref<OpenFile>> OpenFile::make_text(const Node* node, std::string path, const struct stat& attributes,
                                          OpenMode mode, std::string_view content) {
  Ref<OpenFile> file = Ref<OpenFile>::adopt(new OpenFile(node, std::move(path), attributes, mode));
  const std::string name = file->path_.substr(file->path_.rfind('/') + 1);
  Fd memfd(IOMMUFD_TRY(sys::check(::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING))));
  const ssize_t n = IOMMUFD_TRY(sys::check(::write(memfd.get(), content.data(), content.size())));
  if (static_cast<std::size_t>(n) != content.size()) return Err(Errno::kNoMem);
  IOMMUFD_TRY(sys::ok(::fcntl(memfd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)));
  IOMMUFD_TRY(file->adopt(std::move(memfd)));
  return file;
}

Result<void> OpenFile::adopt(Fd memfd) {
  struct stat st{};
  IOMMUFD_TRY(sys::ok(::fstat(memfd.get(), &st)));
  inode_ = st.st_ino;
  device_ = st.st_dev;
  const int flags = (mode_.flags & kKeptFlags) | O_CLOEXEC;
  description_ = Fd(IOMMUFD_TRY(sys::check(::open(self_fd(memfd.get()).c_str(), flags))));
  anchor_ = std::make_shared<const Fd>(std::move(memfd));
  return {};
}

std::unique_ptr<vfio::FileMemory> OpenFile::memory() { return std::make_unique<Memory>(anchor_); }

Result<std::unique_ptr<FileTable>> FileTable::create() {
  return std::unique_ptr<FileTable>(new FileTable(Fd(IOMMUFD_TRY(sys::check(::epoll_create1(EPOLL_CLOEXEC))))));
}

Result<FileTable::Group*> FileTable::group_with_room_locked() {
  static const std::size_t kCapacity = files_per_group();
  if (!groups_.empty() && groups_.back()->files.size() < kCapacity) return groups_.back().get();
  for (const auto& g : groups_) {
    if (g->files.size() < kCapacity) return g.get();
  }
  auto group = std::make_unique<Group>();
  group->inotify = Fd(IOMMUFD_TRY(sys::check(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC))));
  epoll_event event{};
  event.events = EPOLLIN;
  IOMMUFD_TRY(sys::ok(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, group->inotify.get(), &event)));
  groups_.push_back(std::move(group));
  return groups_.back().get();
}

Result<void> FileTable::publish(const Ref<OpenFile>& file) {
  IOMMUFD_ASSERT(file->file_);
  // Nobody keeps the memory: this description must be closed before there is a watch, or its close would look like
  // the client's.
  if (file->anchor_.use_count() == 1) file->anchor_.reset();
  const MutexLock lock(mu_);
  Group* group = IOMMUFD_TRY(group_with_room_locked());
  const int watch = IOMMUFD_TRY(
      sys::check(::inotify_add_watch(group->inotify.get(), self_fd(file->description_.get()).c_str(), IN_CLOSE)));
  group->files[watch] = file;
  files_[file->inode_] = file;
  device_.store(file->device_, std::memory_order_relaxed);
  count_.fetch_add(1, std::memory_order_release);
  return {};
}

Ref<OpenFile> FileTable::find(dev_t device, ino_t inode) {
  if (device != device_.load(std::memory_order_relaxed)) return nullptr;
  const MutexLock lock(mu_);
  const auto it = files_.find(inode);
  return it != files_.end() ? it->second : nullptr;
}

Ref<OpenFile> FileTable::find(const ioctl::File& file) {
  const MutexLock lock(mu_);
  const auto it = std::ranges::find_if(files_, [&](const auto& entry) { return &entry.second->file() == &file; });
  return it != files_.end() ? it->second : nullptr;
}

void FileTable::withdraw(const Ref<OpenFile>& file) {
  std::vector<Ref<OpenFile>> closed{file};
  {
    const MutexLock lock(mu_);
    const auto watches = [&](const auto& group) {
      const auto it = std::ranges::find_if(group->files, [&](const auto& entry) { return entry.second == file; });
      if (it == group->files.end()) return false;
      (void)::inotify_rm_watch(group->inotify.get(), it->first);
      group->files.erase(it);
      return true;
    };
    if (std::ranges::none_of(groups_, watches)) return;
    files_.erase(file->inode_);
    ++releasing_;
  }
  release(closed);
}

void FileTable::take_events_locked(Group& group, std::vector<Ref<OpenFile>>& closed) {
  // Nearly always there is none, and this question is the cheapest (each request asks it).
  int bytes = 0;
  if (::ioctl(group.inotify.get(), FIONREAD, &bytes) != 0 || bytes == 0) return;
  alignas(inotify_event) std::array<char, 4096> buf;
  for (;;) {
    const ssize_t n = ::read(group.inotify.get(), buf.data(), buf.size());
    if (n <= 0) return;
    for (std::size_t at = 0; at < static_cast<std::size_t>(n);) {
      inotify_event event{};
      std::memcpy(&event, buf.data() + at, sizeof(event));
      at += sizeof(event) + event.len;
      const auto it = group.files.find(event.wd);
      if ((event.mask & IN_CLOSE) == 0 || it == group.files.end()) continue;
      (void)::inotify_rm_watch(group.inotify.get(), event.wd);
      files_.erase(it->second->inode_);
      closed.push_back(std::move(it->second));
      group.files.erase(it);
    }
    // One more read only when this one may have left something behind.
    if (static_cast<std::size_t>(n) + sizeof(inotify_event) <= buf.size()) return;
  }
}

void FileTable::release(std::vector<Ref<OpenFile>>& closed) {
  const std::size_t n = closed.size();
  for (Ref<OpenFile>& file : closed) {
    file->file_->release();
    if (file->opener_) file->opener_->fd_numbers.freed(file->first_fd.load(std::memory_order_relaxed));
    file = nullptr;
  }
  const MutexLock lock(mu_);
  count_.fetch_sub(n, std::memory_order_release);
  if (--releasing_ == 0) released_.notify_all();
}

void FileTable::drain() {
  if (empty()) return;
  std::vector<Ref<OpenFile>> closed;
  {
    const MutexLock lock(mu_);
    for (const auto& group : groups_) take_events_locked(*group, closed);
    if (!closed.empty()) ++releasing_;
  }
  if (!closed.empty()) release(closed);
  const MutexLock lock(mu_);
  while (releasing_ != 0) released_.wait(mu_);
}

void FileTable::release_all() {
  std::vector<Ref<OpenFile>> closed;
  {
    const MutexLock lock(mu_);
    for (const auto& group : groups_) {
      for (auto& [watch, file] : group->files) closed.push_back(std::move(file));
      group->files.clear();
    }
    files_.clear();
    ++releasing_;
  }
  release(closed);
}

}  // namespace iommufd::run

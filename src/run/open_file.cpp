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
#include "run/message.hpp"

namespace iommufd::run {
namespace {

// Every region of a device file lies below this; nothing is allocated until it is touched.
constexpr u64 kFileSize = u64{1} << 45;
// How much of late writes is taken at a time. (A page is the most that sysfs takes.)
constexpr u64 kMostLate = 65536;
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

// For a message: short, and without control characters.
std::string printable(std::string_view text) {
  constexpr std::size_t kMost = 80;
  std::string out(text.substr(0, kMost));
  std::ranges::replace_if(out, [](unsigned char c) { return c < ' ' || c == 0x7f; }, '?');
  return text.size() > kMost ? out + "..." : out;
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

Result<Ref<OpenFile>> OpenFile::make(NodeRef node, std::string path, const struct stat& attributes, OpenMode mode) {
  Fd memfd = IOMMUFD_TRY(sys::make_sealed_memfd(node->name().c_str(), kFileSize));
  Ref<OpenFile> file = Ref<OpenFile>::adopt(new OpenFile(std::move(node), std::move(path), attributes, mode));
  IOMMUFD_TRY(file->adopt(std::move(memfd)));
  return file;
}

Result<Ref<OpenFile>> OpenFile::make_anonymous(std::string name) { return make_nameless(std::move(name), 0); }

Result<Ref<OpenFile>> OpenFile::make_anonymous_device(std::string name) {
  return make_nameless(std::move(name), kFileSize);
}

Result<Ref<OpenFile>> OpenFile::make_nameless(std::string name, u64 size) {
  struct stat attributes{};
  attributes.st_mode = S_IRUSR | S_IWUSR;
  attributes.st_nlink = 1;
  attributes.st_blksize = static_cast<blksize_t>(kPageSize);
  Fd memfd = IOMMUFD_TRY(sys::make_sealed_memfd(name.c_str(), size));
  Ref<OpenFile> file = Ref<OpenFile>::adopt(new OpenFile(nullptr, std::move(name), attributes, {O_RDWR}));
  IOMMUFD_TRY(file->adopt(std::move(memfd)));
  return file;
}

Result<Ref<OpenFile>> OpenFile::make_text(NodeRef node, std::string path, const struct stat& attributes, OpenMode mode,
                                          std::string_view content) {
  Ref<OpenFile> file = Ref<OpenFile>::adopt(new OpenFile(std::move(node), std::move(path), attributes, mode));
  const std::string name = file->path_.substr(file->path_.rfind('/') + 1);
  Fd memfd(IOMMUFD_TRY(sys::check(::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING))));
  const ssize_t n = IOMMUFD_TRY(sys::check(::write(memfd.get(), content.data(), content.size())));
  if (static_cast<std::size_t>(n) != content.size()) return Err(Errno::kNoMem);
  IOMMUFD_TRY(sys::ok(::fcntl(memfd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)));
  IOMMUFD_TRY(file->adopt(std::move(memfd)));
  return file;
}

// The client may make it as long as it likes: like any memory file it is charged to whoever writes.
Result<Ref<OpenFile>> OpenFile::make_written(NodeRef node, std::string path, const struct stat& attributes,
                                             OpenMode mode) {
  Fd memfd(IOMMUFD_TRY(sys::check(::memfd_create(node->name().c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING))));
  IOMMUFD_TRY(sys::ok(::fcntl(memfd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL)));
  Ref<OpenFile> file = Ref<OpenFile>::adopt(new OpenFile(std::move(node), std::move(path), attributes, mode));
  IOMMUFD_TRY(file->adopt(std::move(memfd)));
  return file;
}

// One write(2) cannot be told from two; a shell writes lines, and so a line is a write.
void OpenFile::perform_late_writes() {
  struct stat st{};
  if (!late_writer_ || ::fstat(anchor_->get(), &st) != 0) return;
  const u64 size = static_cast<u64>(st.st_size);
  const u64 from = std::exchange(late_done_, size);
  if (size <= from) return;
  std::string text(std::min(size - from, kMostLate), '\0');
  const ssize_t n = ::pread(anchor_->get(), text.data(), text.size(), static_cast<off_t>(from));
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  if (size - from > kMostLate)
    message(fmt::format("{}: more than {} bytes at once: the rest is lost", path_, kMostLate));
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    const std::string_view data = rest.substr(0, std::min(line.size() + 1, rest.size()));
    rest.remove_prefix(data.size());
    const Result<u64> done = late_writer_({.data = data, .writer = Write::Writer::kGone});
    if (done) continue;
    message(fmt::format("writing '{}' to {} failed: {} ({})", printable(line), path_,
                        std::strerror(static_cast<int>(done.error())), errno_name(done.error())));
  }
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

Result<FileTable::Group*> FileTable::group_with_room_locked(Watched what) {
  static const std::size_t kCapacity = files_per_group();
  for (const auto& g : groups_) {
    if (g->what == what && g->files.size() < kCapacity) return g.get();
  }
  auto group = std::make_unique<Group>();
  group->what = what;
  group->inotify = Fd(IOMMUFD_TRY(sys::check(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC))));
  epoll_event event{};
  event.events = EPOLLIN;
  IOMMUFD_TRY(sys::ok(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, group->inotify.get(), &event)));
  groups_.push_back(std::move(group));
  return groups_.back().get();
}

Result<void> FileTable::publish(const Ref<OpenFile>& file) {
  IOMMUFD_ASSERT(file->file_);
  // Nobody needs the memory: this description must be closed before there is a watch, or its close would look like
  // the client's.
  const bool late = static_cast<bool>(file->late_writer_);
  if (file->anchor_.use_count() == 1 && !late) file->anchor_.reset();
  const u32 events = IN_CLOSE | (late ? IN_MODIFY : 0);
  const Watched what = late ? Watched::kWrites : Watched::kCloses;
  const MutexLock lock(mu_);
  Group* group = IOMMUFD_TRY(group_with_room_locked(what));
  const int watch = IOMMUFD_TRY(
      sys::check(::inotify_add_watch(group->inotify.get(), self_fd(file->description_.get()).c_str(), events)));
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
  Events events{{}, {file}};
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
  act_on(events);
}

void FileTable::take_events_locked(Group& group, Events& events) {
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
      if ((event.mask & IN_Q_OVERFLOW) != 0)
        for (const auto& [watch, file] : group.files) events.written.push_back(file);
      if (it == group.files.end()) continue;
      if ((event.mask & IN_MODIFY) != 0) events.written.push_back(it->second);
      if ((event.mask & IN_CLOSE) == 0) continue;
      (void)::inotify_rm_watch(group.inotify.get(), event.wd);
      files_.erase(it->second->inode_);
      events.closed.push_back(std::move(it->second));
      group.files.erase(it);
    }
    // One more read only when this one may have left something behind.
    if (static_cast<std::size_t>(n) + sizeof(inotify_event) <= buf.size()) return;
  }
}

// The kernel may have left out the news of a write when there was some already; so the end looks once more.
void FileTable::act_on(Events& events) {
  for (const Ref<OpenFile>& file : events.written) file->perform_late_writes();
  const std::size_t n = events.closed.size();
  for (Ref<OpenFile>& file : events.closed) {
    file->perform_late_writes();
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
  Events events;
  {
    const MutexLock lock(mu_);
    while (releasing_ != 0) released_.wait(mu_);  // one after the other: late writes have an order
    for (const auto& group : groups_) take_events_locked(*group, events);
    if (events.empty()) return;
    ++releasing_;
  }
  act_on(events);
}

void FileTable::release_all() {
  Events events;
  {
    const MutexLock lock(mu_);
    for (const auto& group : groups_) {
      for (auto& [watch, file] : group->files) events.closed.push_back(std::move(file));
      group->files.clear();
    }
    files_.clear();
    ++releasing_;
  }
  act_on(events);
}

}  // namespace iommufd::run

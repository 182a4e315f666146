// SPDX-License-Identifier: BSD-3-Clause
#include "base/event_watcher.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/sys.hpp"

namespace iommufd {
namespace {

constexpr EventWatcher::WatchId kStop = 0;

Result<void> watch(int epoll, int fd, EventWatcher::WatchId id) {
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.u64 = id}};
  if (::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) return Err(sys::last_errno());
  return {};
}

}  // namespace

bool take_eventfd(int fd) {
  u64 count = 0;
  const iovec where{&count, sizeof count};
  return ::preadv2(fd, &where, 1, -1, RWF_NOWAIT) == static_cast<ssize_t>(sizeof count);
}

EventWatcher::~EventWatcher() {
  const MutexLock lock(mu_);
  if (!stop_.valid()) return;
  const u64 one = 1;
  [[maybe_unused]] const ssize_t written = ::write(stop_.get(), &one, sizeof one);
}

Result<EventWatcher::WatchId> EventWatcher::add(Fd file, std::function<void()> act, Take take) {
  const MutexLock lock(mu_);
  IOMMUFD_TRY(start_locked());
  const WatchId id = next_++;
  const int fd = file.get();
  watches_.emplace(id, Watch{std::move(file), take, std::move(act)});
  if (const auto added = watch(epoll_.get(), fd, id); !added) {
    watches_.erase(id);
    return Err(added.error());
  }
  return id;
}

void EventWatcher::remove(WatchId id) {
  const MutexLock lock(mu_);
  const auto it = watches_.find(id);
  if (it == watches_.end()) return;
  // Others have descriptors of the same file: closing ours would not take it out of the set.
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, it->second.file.get(), nullptr);
  while (running_ == id) returned_.wait(mu_);
  watches_.erase(id);
}

Result<void> EventWatcher::start_locked() {
  if (epoll_.valid()) return {};
  Fd epoll(IOMMUFD_TRY(sys::check(::epoll_create1(EPOLL_CLOEXEC))));
  Fd stop(IOMMUFD_TRY(sys::check(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))));
  IOMMUFD_TRY(watch(epoll.get(), stop.get(), kStop));
  epoll_ = std::move(epoll);
  stop_ = std::move(stop);
  thread_ = std::jthread([this, fd = epoll_.get()] { run(fd); });
  return {};
}

void EventWatcher::run(int epoll) {
  for (;;) {
    epoll_event event{};
    if (::epoll_wait(epoll, &event, 1, -1) != 1) continue;  // EINTR
    if (event.data.u64 == kStop) return;
    serve(event.data.u64);
  }
}

void EventWatcher::serve(WatchId id) {
  MutexLock lock(mu_);
  const auto it = watches_.find(id);
  if (it == watches_.end() || !it->second.take(it->second.file.get())) return;
  running_ = id;
  const auto act = it->second.act;
  lock.unlock();
  act();
  lock.lock();
  running_ = 0;
  returned_.notify_all();
}

}  // namespace iommufd

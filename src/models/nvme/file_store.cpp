// SPDX-License-Identifier: BSD-3-Clause
#include "models/nvme/file_store.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <liburing.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ranges>

#include "base/assert.hpp"
#include "models/nvme/file_jobs.hpp"

namespace iommufd::models::nvme {

class FileStore::Ring {
 public:
  // Null: the host refuses, with `error` as the reason.
  static std::unique_ptr<Ring> create(int& error) {
    auto ring = std::make_unique<Ring>();
    error = -::io_uring_queue_init(kMostJobs, &ring->uring, 0);
    if (error != 0) return nullptr;
    ring->made = true;
    return ring;
  }
  Ring() = default;
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() {
    if (made) ::io_uring_queue_exit(&uring);
  }

  io_uring uring{};
  bool made = false;
};

namespace {

bool changes(const Job& job) { return job.kind != Job::Kind::kRead && job.kind != Job::Kind::kFlush; }

// The same bytes, and one of the two changes them.
bool collide(const Job& a, const Job& b) {
  return (changes(a) || changes(b)) && a.offset < b.offset + b.length && b.offset < a.offset + a.length;
}

}  // namespace

FileStore::FileStore(Fd file, Engine engine, std::function<void(std::string_view)> note)
    : file_(std::move(file)), engine_(engine), note_(std::move(note)) {}

FileStore::~FileStore() { drain(); }

bool FileStore::use_ring() {
  if (engine_ == Engine::kSync) return false;
  if (ring_ != nullptr) return true;
  int error = 0;
  ring_ = Ring::create(error);
  if (ring_ != nullptr) return true;
  engine_ = Engine::kSync;
  note_(fmt::format("io_uring is refused ({}): reads and writes of its file are done one after another",
                    std::strerror(error)));
  return false;
}

std::optional<Result<void>> FileStore::start(Job& job) {
  if (!must_wait(job, waiting_.size())) return begin(job);
  changing_ += u32{changes(job)};
  waiting_.push_back(&job);
  return std::nullopt;
}

// For one that runs, or for one of the first `waiting` that wait.
bool FileStore::must_wait(const Job& job, std::size_t waiting) const {
  if (changing_ == 0 && !changes(job)) return false;
  const auto in_the_way = [&](const Job* other) { return collide(job, *other); };
  return std::ranges::any_of(running_, in_the_way) ||
         std::ranges::any_of(waiting_ | std::views::take(waiting), in_the_way);
}

void FileStore::begin_waiting() {
  for (std::size_t i = 0; i < waiting_.size();) {
    Job& job = *waiting_[i];
    if (must_wait(job, i)) {
      ++i;
      continue;
    }
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
    changing_ -= u32{changes(job)};
    if (const auto result = begin(job)) done_.push_back({&job, *result});
  }
}

std::optional<Result<void>> FileStore::begin(Job& job) {
  // Zeroing with a sync behind it is two calls: it is rare, and done here.
  const bool two_calls =
      (job.kind == Job::Kind::kZero || job.kind == Job::Kind::kDeallocate) && job.durable == Job::Durable::kYes;
  if (two_calls || !use_ring()) return run_on_file(file_.get(), job);
  io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_->uring);
  if (sqe == nullptr) {
    submit();
    sqe = ::io_uring_get_sqe(&ring_->uring);
    if (sqe == nullptr) return run_on_file(file_.get(), job);
  }
  const int fd = file_.get();
  const auto length = static_cast<unsigned>(job.length);
  switch (job.kind) {
    case Job::Kind::kRead: ::io_uring_prep_read(sqe, fd, job.buffer, length, job.offset); break;
    case Job::Kind::kWrite:
      ::io_uring_prep_write(sqe, fd, job.buffer, length, job.offset);
      if (job.durable == Job::Durable::kYes) sqe->rw_flags = RWF_DSYNC;
      break;
    case Job::Kind::kZero:
    case Job::Kind::kDeallocate:
      ::io_uring_prep_fallocate(
          sqe, fd, (job.kind == Job::Kind::kZero ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE) | FALLOC_FL_KEEP_SIZE,
          static_cast<off_t>(job.offset), static_cast<off_t>(job.length));
      break;
    case Job::Kind::kFlush: ::io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC); break;
  }
  ::io_uring_sqe_set_data(sqe, &job);
  running_.push_back(&job);
  changing_ += u32{changes(job)};
  return std::nullopt;
}

void FileStore::submit() {
  if (ring_ == nullptr) return;
  while (::io_uring_sq_ready(&ring_->uring) != 0) {
    const int handed_over = ::io_uring_submit(&ring_->uring);
    // EBUSY, EAGAIN: later, at the next look.
    if (handed_over < 0 && handed_over != -EINTR) return;
  }
}

std::optional<Store::Done> FileStore::reap() {
  io_uring_cqe* cqe = nullptr;
  if (::io_uring_peek_cqe(&ring_->uring, &cqe) != 0 || cqe == nullptr) return std::nullopt;
  Job* job = static_cast<Job*>(::io_uring_cqe_get_data(cqe));
  const int outcome = cqe->res;
  ::io_uring_cqe_seen(&ring_->uring, cqe);
  const bool moves = job->kind == Job::Kind::kRead || job->kind == Job::Kind::kWrite;
  Result<void> result;
  // What was cut short, cancelled because the thread that had submitted it ended, or is not known to the file system, is
  // done the simple way; what is wrong with the file shows again.
  if (outcome < 0 || (moves && static_cast<u64>(outcome) != job->length))
    result = run_on_file(file_.get(), *job, moves && outcome > 0 ? static_cast<u64>(outcome) : 0);
  std::erase(running_, job);
  changing_ -= u32{changes(*job)};
  return Done{job, result};
}

std::optional<Store::Done> FileStore::collect() {
  if (!done_.empty()) {
    const Done done = done_.front();
    done_.pop_front();
    return done;
  }
  if (running_.empty()) return std::nullopt;
  submit();
  const std::optional<Done> done = reap();
  if (done) begin_waiting();
  return done;
}

void FileStore::drain() {
  for (const Job* job : waiting_) changing_ -= u32{changes(*job)};
  waiting_.clear();
  done_.clear();
  while (!running_.empty()) {
    submit();
    io_uring_cqe* cqe = nullptr;
    const int waited = ::io_uring_wait_cqe(&ring_->uring, &cqe);
    IOMMUFD_ASSERT(waited == 0 || waited == -EINTR || waited == -EAGAIN);
    while (reap()) {
    }
  }
}

}  // namespace iommufd::models::nvme

// SPDX-License-Identifier: BSD-3-Clause
#include "models/nvme/file_store.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <liburing.h>

#include <cerrno>
#include <cstring>

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
  u32 running = 0;
};

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
  ++ring_->running;
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
  --ring_->running;
  const bool moves = job->kind == Job::Kind::kRead || job->kind == Job::Kind::kWrite;
  if (outcome >= 0 && (!moves || static_cast<u64>(outcome) == job->length)) return Done{job, {}};
  // What was cut short, cancelled because the thread that had submitted it ended, or is not known to the file system, is
  // done the simple way; what is wrong with the file shows again.
  return Done{job, run_on_file(file_.get(), *job, moves && outcome > 0 ? static_cast<u64>(outcome) : 0)};
}

std::optional<Store::Done> FileStore::collect() {
  if (ring_ == nullptr || ring_->running == 0) return std::nullopt;
  submit();
  return reap();
}

void FileStore::drain() {
  if (ring_ == nullptr) return;
  while (ring_->running != 0) {
    submit();
    io_uring_cqe* cqe = nullptr;
    const int waited = ::io_uring_wait_cqe(&ring_->uring, &cqe);
    IOMMUFD_ASSERT(waited == 0 || waited == -EINTR || waited == -EAGAIN);
    while (reap()) {
    }
  }
}

}  // namespace iommufd::models::nvme

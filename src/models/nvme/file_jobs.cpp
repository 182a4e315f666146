// SPDX-License-Identifier: BSD-3-Clause
#include "models/nvme/file_jobs.hpp"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/sys.hpp"

namespace iommufd::models::nvme {
namespace {

Result<void> move(int fd, const Job& job, u64 done) {
  while (done < job.length) {
    const iovec part{job.buffer + done, job.length - done};
    const auto at = static_cast<off_t>(job.offset + done);
    const int flags = job.durable == Job::Durable::kYes ? RWF_DSYNC : 0;
    const ssize_t moved =
        job.kind == Job::Kind::kRead ? ::preadv2(fd, &part, 1, at, 0) : ::pwritev2(fd, &part, 1, at, flags);
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0) return Err(sys::last_errno());
    if (moved == 0) return Err(Errno::kIo);
    done += static_cast<u64>(moved);
  }
  return {};
}

Result<void> write_zeros(int fd, const Job& job) {
  static constexpr std::size_t kChunk = std::size_t{64} << 10;
  alignas(kPageSize) static std::array<std::byte, kChunk> zeros{};
  for (u64 done = 0; done < job.length; done += kChunk) {
    const Job part{.kind = Job::Kind::kWrite,
                   .durable = Job::Durable::kNo,
                   .offset = job.offset + done,
                   .length = std::min<u64>(kChunk, job.length - done),
                   .buffer = zeros.data()};
    IOMMUFD_TRY(move(fd, part, 0));
  }
  return {};
}

// A file system that cannot do the one may know the other.
Result<void> zero(int fd, const Job& job) {
  const auto offset = static_cast<off_t>(job.offset), length = static_cast<off_t>(job.length);
  if (job.kind == Job::Kind::kZero && ::fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, length) == 0)
    return {};
  if (::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) == 0) return {};
  return write_zeros(fd, job);
}

}  // namespace

Result<void> run_on_file(int fd, const Job& job, u64 done) {
  switch (job.kind) {
    case Job::Kind::kRead:
    case Job::Kind::kWrite: return move(fd, job, done);
    case Job::Kind::kZero:
    case Job::Kind::kDeallocate:
      IOMMUFD_TRY(zero(fd, job));
      if (job.durable == Job::Durable::kNo) return {};
      return sys::ok(::fdatasync(fd));
    case Job::Kind::kFlush: return sys::ok(::fdatasync(fd));
  }
  return Err(Errno::kInval);
}

}  // namespace iommufd::models::nvme

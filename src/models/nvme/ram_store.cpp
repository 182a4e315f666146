// SPDX-License-Identifier: BSD-3-Clause
#include "models/nvme/ram_store.hpp"

#include <sys/mman.h>

#include <cstring>

namespace iommufd::models::nvme {

std::optional<Result<void>> RamStore::start(Job& job) {
  const std::span<std::byte> range = memory_.bytes().subspan(job.offset, job.length);
  switch (job.kind) {
    case Job::Kind::kRead: std::memcpy(job.buffer, range.data(), range.size()); break;
    case Job::Kind::kWrite: std::memcpy(range.data(), job.buffer, range.size()); break;
    case Job::Kind::kZero:
    case Job::Kind::kDeallocate: zero(range); break;
    case Job::Kind::kFlush: break;
  }
  return Result<void>{};
}

// Whole pages are given back, which makes them read as zeros.
void RamStore::zero(std::span<std::byte> range) {
  const std::size_t start = static_cast<std::size_t>(range.data() - memory_.bytes().data()) & kPageMask;
  const std::size_t head = start == 0 ? 0 : std::min<std::size_t>(range.size(), kPageSize - start);
  std::memset(range.data(), 0, head);
  range = range.subspan(head);
  const std::size_t pages = range.size() & ~kPageMask;
  if (pages != 0 && ::madvise(range.data(), pages, MADV_DONTNEED) != 0) std::memset(range.data(), 0, pages);
  range = range.subspan(pages);
  if (!range.empty()) std::memset(range.data(), 0, range.size());
}

}  // namespace iommufd::models::nvme

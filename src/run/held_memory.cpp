// SPDX-License-Identifier: BSD-3-Clause
#include "run/held_memory.hpp"

#include <vector>

namespace iommufd::run {

Result<std::size_t> HeldSlot::read(u64 at, std::span<std::byte> buf) {
  IOMMUFD_TRY(ring_->read(slot_, at + shift_, buf));
  return buf.size();
}

Result<std::size_t> HeldSlot::write(u64 at, std::span<const std::byte> buf) {
  IOMMUFD_TRY(ring_->write(slot_, at + shift_, buf));
  return buf.size();
}

HeldRanges::Piece HeldRanges::piece_at(u64 at, u64 size) {
  const MutexLock lock(mu_);
  auto next = ranges_.upper_bound(at);
  if (next != ranges_.begin()) {
    const auto& range = std::prev(next)->second;
    if (at < range.end) return {range.held, std::min(size, range.end - at)};
  }
  return {nullptr, next != ranges_.end() ? std::min(size, next->first - at) : size};
}

bool HeldRanges::empty() {
  const MutexLock lock(mu_);
  return ranges_.empty();
}

void HeldRanges::hold(u64 start, u64 end, std::shared_ptr<Held> held) {
  std::vector<std::shared_ptr<Held>> dropped;  // without the lock
  const MutexLock lock(mu_);
  auto it = ranges_.upper_bound(start);
  if (it != ranges_.begin()) --it;
  while (it != ranges_.end() && it->first < end) {
    const u64 old_start = it->first;
    const Range old = it->second;
    if (old.end <= start) {
      ++it;
      continue;
    }
    dropped.push_back(old.held);
    it = ranges_.erase(it);
    if (old_start < start) ranges_[old_start] = {start, old.held};
    if (old.end > end) ranges_[end] = old;
  }
  if (held) ranges_[start] = {end, std::move(held)};
}

}  // namespace iommufd::run

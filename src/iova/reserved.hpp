// SPDX-License-Identifier: BSD-3-Clause
// Reserved ranges of an IOAS: they may overlap each other, and each has an owner (a domain, a device) who takes them
// along when he leaves (spec iommufd-core 4.8). Few at a time; not thread-safe.
#pragma once

#include <algorithm>
#include <vector>

#include "base/types.hpp"

namespace iommufd::iova {

class ReservedRanges {
 public:
  struct Range {
    u64 start;
    u64 last;
    const void* owner;
  };

  // The next `more` add() need no memory.
  void make_room(std::size_t more) { ranges_.reserve(ranges_.size() + more); }
  void add(IovaRange range, const void* owner) {
    const auto at = std::ranges::upper_bound(ranges_, range.start, {}, &Range::start);
    ranges_.insert(at, {range.start, range.last, owner});
  }
  // Never fails.
  void remove(const void* owner) {
    std::erase_if(ranges_, [&](const Range& r) { return r.owner == owner; });
  }
  [[nodiscard]] bool overlaps(u64 start, u64 last) const {
    return std::ranges::any_of(ranges_, [&](const Range& r) { return r.start <= last && start <= r.last; });
  }
  // Ascending by start.
  [[nodiscard]] const std::vector<Range>& ranges() const { return ranges_; }

  // The gaps over [0, 2^64-1], ascending; touching and overlapping ranges count as one.
  [[nodiscard]] std::vector<IovaRange> gaps() const;

 private:
  std::vector<Range> ranges_;
};

}  // namespace iommufd::iova

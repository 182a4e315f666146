// SPDX-License-Identifier: BSD-3-Clause
#include "iova/reserved.hpp"

namespace iommufd::iova {

std::vector<IovaRange> ReservedRanges::gaps() const {
  std::vector<IovaRange> out;
  u64 next = 0;  // first address not known to be reserved
  for (const Range& r : ranges_) {
    if (r.start > next) out.push_back({next, r.start - 1});
    if (r.last == ~u64{0}) return out;
    next = std::max(next, r.last + 1);
  }
  out.push_back({next, ~u64{0}});
  return out;
}

}  // namespace iommufd::iova

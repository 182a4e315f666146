// SPDX-License-Identifier: BSD-3-Clause
// Dirty tracking of one domain of an IOAS (spec iommufd-core A.2, A.3; iommufd-hwpt 6, 7).
//
// A cleaned item is flushed when no transaction is left that may have written before: then its data is in memory, and
// every later write marks it again.
#include "core/ioas.hpp"
#include "core/ioas_detail.hpp"

namespace iommufd::core {
namespace {

// Declared before the locks: what was cleaned is flushed when they are released.
struct Flush {
  iommu::Domain& domain;
  pt::Gather gather{domain.arena()};
  ~Flush() {
    if (gather.has_range()) domain.flush(gather.range());
  }
};

struct NoSink final : pt::DirtySink {
  void dirty(Iova, u64) override {}
};

}  // namespace

void Ioas::set_dirty_tracking(iommu::Domain& domain, iommu::DirtyTracking tracking) {
  if (tracking == iommu::DirtyTracking::kOn) {
    NoSink nobody;
    Flush flush{domain};
    const ReadLock domains_lock(domains_mu_);
    const MutexLock iova_lock(iova_mu_);
    for (const auto [start, last, area] : areas_) {
      if (area.busy) continue;
      domain.read_dirty(Iova{start}, last - start + 1, pt::DirtyMode::kReadAndClear, nobody, flush.gather);
    }
  }
  domain.set_dirty_tracking(tracking);
}

Ioas::Walk Ioas::read_dirty(iommu::Domain& domain, u64 start, u64 last, pt::DirtyMode mode, pt::DirtySink& sink) {
  Flush flush{domain};
  const ReadLock domains_lock(domains_mu_);
  const MutexLock iova_lock(iova_mu_);
  for (u64 at = start;;) {
    const auto it = areas_.find(at, at);
    if (it == areas_.end() || it->value.busy) return Walk::kHole;
    const u64 end = std::min(it->last, last);
    domain.read_dirty(Iova{at}, end - at + 1, mode, sink, flush.gather);
    if (end == last) return Walk::kComplete;
    at = end + 1;
  }
}

}  // namespace iommufd::core

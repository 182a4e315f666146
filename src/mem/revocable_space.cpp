// SPDX-License-Identifier: BSD-3-Clause
#include "mem/revocable_space.hpp"

#include <utility>
#include <vector>

#include "base/assert.hpp"

namespace iommufd::mem {

void RevocableSpace::add_mapper(Mapper& mapper, Ref<RefCounted> keep) {
  const MutexLock lock(mu_);
  Entry& entry = mappers_[&mapper];
  if (entry.mappings++ == 0) entry.keep = std::move(keep);
}

void RevocableSpace::remove_mapper(Mapper& mapper) {
  Ref<RefCounted> dropped;  // without the lock
  const MutexLock lock(mu_);
  const auto it = mappers_.find(&mapper);
  IOMMUFD_ASSERT(it != mappers_.end());
  if (--it->second.mappings != 0) return;
  dropped = std::move(it->second.keep);
  mappers_.erase(it);
}

void RevocableSpace::revoke(Revoked now) {
  std::vector<std::pair<Mapper*, Ref<RefCounted>>> mappers;
  {
    const MutexLock lock(mu_);
    mappers.reserve(mappers_.size());
    revoked_.store(now, std::memory_order_release);
    generation_.fetch_add(1, std::memory_order_acq_rel);
    for (const auto& [mapper, entry] : mappers_) mappers.emplace_back(mapper, entry.keep);
  }
  for (const auto& [mapper, keep] : mappers) mapper->revoke(*this);
}

}  // namespace iommufd::mem

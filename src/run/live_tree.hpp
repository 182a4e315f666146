// SPDX-License-Identifier: BSD-3-Clause
// The tree of paths that holds now. A change of the machine is another tree, so that who walks one never sees half of a change and
// takes no lock meanwhile (docs/adr/0010-a-tree-per-state.md).
//
// Lock: mu_ (kLeaf), held for a copy of a pointer.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "base/sync.hpp"
#include "run/path_tree.hpp"

namespace iommufd::run {

class LiveTree {
 public:
  using Snapshot = std::shared_ptr<const PathTree>;

  explicit LiveTree(PathTree first) : now_(std::make_shared<const PathTree>(std::move(first))) {}
  LiveTree(const LiveTree&) = delete;
  LiveTree& operator=(const LiveTree&) = delete;

  [[nodiscard]] Snapshot now() const IOMMUFD_EXCLUDES(mu_) {
    const MutexLock lock(mu_);
    return now_;
  }

  // Who is told of the next tree before lookups find it: the mirror. Once, before the first replace().
  void set_follower(std::function<void(const Snapshot&)> follower) { follower_ = std::move(follower); }

  // One at a time, which is the caller's business.
  void replace(PathTree next) IOMMUFD_EXCLUDES(mu_) {
    auto tree = std::make_shared<const PathTree>(std::move(next));
    if (follower_) follower_(tree);
    const MutexLock lock(mu_);
    now_.swap(tree);  // the old one ends without the lock, or with its last user
  }

 private:
  std::function<void(const Snapshot&)> follower_;
  mutable Mutex mu_{LockRank::kLeaf};
  Snapshot now_ IOMMUFD_GUARDED_BY(mu_);
};

}  // namespace iommufd::run

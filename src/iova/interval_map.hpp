// SPDX-License-Identifier: BSD-3-Clause
// Disjoint inclusive intervals of [0, 2^64-1], each with a value: the areas of an IOAS, its allowed ranges.
// Not thread-safe. Insertion may throw std::bad_alloc and then has changed nothing; erasing never fails.
#pragma once

#include <map>
#include <utility>

#include "base/types.hpp"

namespace iommufd::iova {

template <class V>
class IntervalMap {
 public:
  struct Entry {
    u64 start;
    V value;
  };
  // Keyed by the last address, so that lower_bound(x) is the first interval that ends at or after x.
  using Map = std::map<u64, Entry>;
  using iterator = typename Map::iterator;
  using const_iterator = typename Map::const_iterator;

  // The first interval that intersects [start, last], or end().
  iterator find(u64 start, u64 last) { return clip(map_.lower_bound(start), last); }
  const_iterator find(u64 start, u64 last) const { return clip(map_.lower_bound(start), last); }
  [[nodiscard]] bool overlaps(u64 start, u64 last) const { return find(start, last) != map_.end(); }

  // Pre: nothing intersects [start, last].
  iterator insert(u64 start, u64 last, V value) { return map_.emplace(last, Entry{start, std::move(value)}).first; }
  // Cuts `it` behind `last`, which is in it and not its end: the lower part becomes an interval with the value `lower`, and
  // `it` stays as the upper one.
  void split(iterator it, u64 last, V lower) {
    map_.emplace_hint(it, last, Entry{it->second.start, std::move(lower)});
    it->second.start = last + 1;
  }
  iterator erase(iterator it) { return map_.erase(it); }
  void clear() { map_.clear(); }

  iterator begin() { return map_.begin(); }
  iterator end() { return map_.end(); }
  const_iterator begin() const { return map_.begin(); }
  const_iterator end() const { return map_.end(); }
  [[nodiscard]] bool empty() const { return map_.empty(); }
  [[nodiscard]] std::size_t size() const { return map_.size(); }

 private:
  template <class It>
  It clip(It it, u64 last) const {
    if (it != map_.end() && it->second.start <= last) return it;
    if constexpr (std::is_same_v<It, iterator>) {
      return const_cast<Map&>(map_).end();
    } else {
      return map_.end();
    }
  }
  Map map_;
};

}  // namespace iommufd::iova

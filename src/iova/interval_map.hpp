// SPDX-License-Identifier: BSD-3-Clause
// Disjoint inclusive intervals of [0, 2^64-1], each with a value: the areas of an IOAS, its allowed ranges. A balanced tree whose
// nodes know the longest gap below them, so that a gap of some length among a million intervals is found in some twenty steps.
// Not thread-safe. Insertion may throw std::bad_alloc and then has changed nothing; erasing never fails.
#pragma once

#include <algorithm>
#include <ext/pb_ds/assoc_container.hpp>
#include <ext/pb_ds/tree_policy.hpp>
#include <optional>
#include <utility>

#include "base/rollback.hpp"
#include "base/types.hpp"

namespace iommufd::iova {

namespace detail {

// What a node knows of the intervals at and below it.
struct Span {
  u64 start = 0;  // of the first
  u64 last = 0;   // of the last
  u64 gap = 0;    // bytes of the longest gap between two of them
};

// Keeps the spans up to date; pb_ds calls it for each node whose subtree has changed, children first.
template <class NodeConstIterator, class NodeIterator, class, class>
class SpanUpdate {
 public:
  using metadata_type = Span;
  virtual ~SpanUpdate() = default;
  [[nodiscard]] virtual NodeConstIterator node_begin() const = 0;
  [[nodiscard]] virtual NodeConstIterator node_end() const = 0;

 protected:
  void operator()(NodeIterator node, NodeConstIterator none) const {
    const auto& [last, entry] = **node;
    Span span{entry.start, last, 0};
    if (const auto left = node.get_l_child(); left != none) {
      const Span& l = left.get_metadata();
      span.gap = std::max(l.gap, entry.start - l.last - 1);
      span.start = l.start;
    }
    if (const auto right = node.get_r_child(); right != none) {
      const Span& r = right.get_metadata();
      span.gap = std::max({span.gap, r.gap, r.start - last - 1});
      span.last = r.last;
    }
    const_cast<Span&>(node.get_metadata()) = span;
  }
};

}  // namespace detail

template <class V>
class IntervalMap {
 public:
  struct Entry {
    u64 start;
    V value;
  };
  // Keyed by the last address, so that lower_bound(x) is the first interval that ends at or after x.
  using Map = __gnu_pbds::tree<u64, Entry, std::less<u64>, __gnu_pbds::rb_tree_tag, detail::SpanUpdate>;
  using iterator = typename Map::iterator;
  using const_iterator = typename Map::const_iterator;

  IntervalMap() = default;
  // NOLINTNEXTLINE(performance-noexcept-move-constructor): an empty tree has a node
  IntervalMap(IntervalMap&& from) { swap(from); }
  IntervalMap& operator=(IntervalMap&& from) noexcept {
    swap(from);
    return *this;
  }
  void swap(IntervalMap& other) noexcept { map_.swap(other.map_); }

  // The first interval that intersects [start, last], or end().
  iterator find(u64 start, u64 last) {
    const iterator it = map_.lower_bound(start);
    return it != map_.end() && it->second.start <= last ? it : map_.end();
  }
  const_iterator find(u64 start, u64 last) const {
    const const_iterator it = map_.lower_bound(start);
    return it != map_.end() && it->second.start <= last ? it : map_.end();
  }
  [[nodiscard]] bool overlaps(u64 start, u64 last) const { return find(start, last) != map_.end(); }

  // Pre: nothing intersects [start, last].
  iterator insert(u64 start, u64 last, V value) { return map_.insert({last, Entry{start, std::move(value)}}).first; }
  // Cuts `it` behind `last`, which is in it and not its end: the lower part becomes an interval with the value `lower`, and
  // `it` stays as the upper one.
  void split(iterator it, u64 last, V lower) {
    const u64 start = std::exchange(it->second.start, last + 1);
    Rollback undo{[&] { it->second.start = start; }};
    // It goes in below `it`, whose span is brought up to date on the way.
    map_.insert({last, Entry{start, std::move(lower)}});
    undo.commit();
  }
  iterator erase(iterator it) { return map_.erase(it); }
  void clear() { map_.clear(); }

  // The first gap of at least `length` bytes in [from, 2^64-1]; a gap that begins before `from` counts from there.
  // Pre: length != 0.
  [[nodiscard]] std::optional<IovaRange> next_gap(u64 from, u64 length) const {
    // Below `from` and just above it, interval by interval; then by the spans.
    const const_iterator above = map_.lower_bound(from);
    if (above == map_.end()) return tail(from, length);
    if (above->second.start > from && above->second.start - from >= length)
      return IovaRange{from, above->second.start - 1};
    const u64 start = above->first;  // the gap that is looked for is behind it
    std::optional<IovaRange> found = gap_behind(map_.node_begin(), start, length);
    if (found) return found;
    const auto end = std::prev(map_.end());
    return end->first == ~u64{0} ? std::nullopt : tail(end->first + 1, length);
  }

  iterator begin() { return map_.begin(); }
  iterator end() { return map_.end(); }
  const_iterator begin() const { return map_.begin(); }
  const_iterator end() const { return map_.end(); }
  [[nodiscard]] bool empty() const { return map_.empty(); }
  [[nodiscard]] std::size_t size() const { return map_.size(); }

 private:
  using Node = typename Map::node_const_iterator;

  static std::optional<IovaRange> tail(u64 from, u64 length) {
    if (~u64{0} - from < length - 1) return std::nullopt;
    return IovaRange{from, ~u64{0}};
  }

  // The first gap of `length` between two intervals at and below `node`, the first of which does not end before `start`.
  // Descends at most twice to the bottom: where a span promises a gap behind `start`, it is there.
  std::optional<IovaRange> gap_behind(Node node, u64 start, u64 length) const {
    const Node none = map_.node_end();
    if (node == none) return std::nullopt;
    const detail::Span& span = node.get_metadata();
    if (span.gap < length || span.last <= start) return std::nullopt;
    const auto& [last, entry] = **node;
    const Node left = node.get_l_child(), right = node.get_r_child();
    if (left != none) {
      if (const auto found = gap_behind(left, start, length)) return found;
      const u64 before = left.get_metadata().last;
      if (before >= start && entry.start - before - 1 >= length) return IovaRange{before + 1, entry.start - 1};
    }
    if (right == none) return std::nullopt;
    const u64 after = right.get_metadata().start;
    if (last >= start && after - last - 1 >= length) return IovaRange{last + 1, after - 1};
    return gap_behind(right, start, length);
  }

  Map map_;
};

}  // namespace iommufd::iova

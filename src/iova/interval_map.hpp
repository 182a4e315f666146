// SPDX-License-Identifier: BSD-3-Clause
// Disjoint inclusive intervals of [0, 2^64-1], each with a value: the areas of an IOAS, its allowed ranges. A B+tree: a walk in
// ascending order reads whole cache lines, and every inner node knows, for each of its children, the longest gap below it, so
// that a gap of some length among a million intervals is found in a few nodes.
// Not thread-safe. Insertion may throw std::bad_alloc and then has changed nothing; erasing never fails. Both leave no iterator
// valid.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "base/assert.hpp"
#include "base/rollback.hpp"
#include "base/types.hpp"

namespace iommufd::iova {

template <class V>
class IntervalMap {
  struct Leaf;
  template <bool kConst>
  class Iterator;

 public:
  struct Item {
    u64 start;
    u64 last;
    V& value;
  };
  struct ConstItem {
    u64 start;
    u64 last;
    const V& value;
  };
  using iterator = Iterator<false>;
  using const_iterator = Iterator<true>;

  IntervalMap() = default;
  IntervalMap(IntervalMap&& from) noexcept { swap(from); }
  IntervalMap& operator=(IntervalMap&& from) noexcept {
    swap(from);
    return *this;
  }
  ~IntervalMap() { clear(); }
  void swap(IntervalMap& other) noexcept {
    std::swap(root_, other.root_);
    std::swap(height_, other.height_);
    std::swap(first_, other.first_);
    std::swap(size_, other.size_);
  }

  // The first interval that intersects [start, last], or end().
  iterator find(u64 start, u64 last) {
    const auto [leaf, i] = locate(start, last);
    return {leaf, i};
  }
  const_iterator find(u64 start, u64 last) const {
    const auto [leaf, i] = locate(start, last);
    return {leaf, i};
  }
  [[nodiscard]] bool overlaps(u64 start, u64 last) const { return find(start, last) != end(); }

  // Pre: nothing intersects [start, last].
  void insert(u64 start, u64 last, V value);
  // Cuts `it` behind `last`, which is in it and not its end: the lower part becomes an interval with the value `lower`, the
  // upper part stays what it was.
  void split(iterator it, u64 last, V lower) {
    const u64 start = std::exchange(it.leaf_->start[it.index_], last + 1);
    Rollback undo{[&] { it.leaf_->start[it.index_] = start; }};
    insert(start, last,
           std::move(lower));  // into the same leaf, and on the way back the spans above it are brought up to date
    undo.commit();
  }
  void erase(const_iterator it);
  void clear() noexcept {
    if (root_) destroy(root_, height_);
    root_ = {};
    height_ = 0;
    first_ = nullptr;
    size_ = 0;
  }

  // The first gap of at least `length` bytes in [from, 2^64-1]; a gap that begins before `from` counts from there.
  // Pre: length != 0.
  [[nodiscard]] std::optional<IovaRange> next_gap(u64 from, u64 length) const;

  iterator begin() { return {first_, 0}; }
  iterator end() { return {}; }
  const_iterator begin() const { return {first_, 0}; }
  const_iterator end() const { return {}; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  static constexpr u32 kFan = 16;         // intervals of a leaf, children of an inner node
  static constexpr u32 kMostLevels = 24;  // of inner nodes; neighbours that are nearly empty are merged

  struct Inner;
  union Child {
    Child() : leaf(nullptr) {}
    Child(Leaf* l) : leaf(l) {}    // NOLINT(google-explicit-constructor): one or the other, by its level
    Child(Inner* n) : inner(n) {}  // NOLINT(google-explicit-constructor)
    explicit operator bool() const { return leaf != nullptr; }
    Leaf* leaf;
    Inner* inner;
  };
  // What is known of the intervals at and below a node.
  struct Span {
    u64 start = 0;  // of the first
    u64 last = 0;   // of the last
    u64 gap = 0;    // bytes of the longest gap between two of them
    bool operator==(const Span&) const = default;
  };

  // Both kinds of node are columns of `count` slots in ascending order.
  struct Leaf {
    u32 count = 0;
    Leaf* previous = nullptr;
    Leaf* next = nullptr;
    std::array<u64, kFan> last;
    std::array<u64, kFan> start;
    std::array<V, kFan> value{};
    auto columns() { return std::tie(last, start, value); }
  };
  struct Inner {
    u32 count = 0;
    std::array<u64, kFan> last;
    std::array<u64, kFan> start;
    std::array<u64, kFan> gap;
    std::array<Child, kFan> child;
    auto columns() { return std::tie(last, start, gap, child); }
    void set(u32 i, const Span& span) {
      std::tie(start[i], last[i], gap[i]) = std::tie(span.start, span.last, span.gap);
    }
  };

  template <bool kConst>
  class Iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = std::conditional_t<kConst, ConstItem, Item>;
    using difference_type = std::ptrdiff_t;
    using reference = value_type;
    struct Arrow {
      value_type item;
      const value_type* operator->() const { return &item; }
    };
    using pointer = Arrow;

    Iterator() = default;
    Iterator(Leaf* leaf, u32 index) : leaf_(leaf), index_(index) {}
    // NOLINTNEXTLINE(google-explicit-constructor): as with any container
    operator Iterator<true>() const
      requires(!kConst)
    {
      return {leaf_, index_};
    }
    value_type operator*() const { return {leaf_->start[index_], leaf_->last[index_], leaf_->value[index_]}; }
    Arrow operator->() const { return {**this}; }
    Iterator& operator++() {
      if (++index_ == leaf_->count) *this = {leaf_->next, 0};
      return *this;
    }
    bool operator==(const Iterator&) const = default;

   private:
    friend class IntervalMap;
    Leaf* leaf_ = nullptr;
    u32 index_ = 0;
  };

  // The way from the root to a leaf: path[0] is the root, path[height_ - 1] the parent of the leaf.
  struct Step {
    Inner* node;
    u32 slot;
  };
  using Path = std::array<Step, kMostLevels>;
  static Span span_in(const Step& step) {
    const auto& [node, i] = step;
    return {node->start[i], node->last[i], node->gap[i]};
  }

  // How many of the slots lie wholly below `key`: the first one that ends at or after it.
  template <class Node>
  static u32 position(const Node& node, u64 key) {
    u32 at = 0;
    for (u32 n = node.count; n != 0;) {
      const u32 half = n / 2;
      const bool below = node.last[at + half] < key;
      at = below ? at + half + 1 : at;
      n = below ? n - half - 1 : half;
    }
    return at;
  }
  template <class Node>
  static void make_room(Node& node, u32 at) {
    const auto shift = [&](auto& column) {
      std::move_backward(column.begin() + at, column.begin() + node.count, column.begin() + node.count + 1);
    };
    std::apply([&](auto&... column) { (shift(column), ...); }, node.columns());
    ++node.count;
  }
  template <class Node>
  static void close_up(Node& node, u32 at) {
    const auto shift = [&](auto& column) {
      std::move(column.begin() + at + 1, column.begin() + node.count, column.begin() + at);
      column[node.count - 1] = {};
    };
    std::apply([&](auto&... column) { (shift(column), ...); }, node.columns());
    --node.count;
  }
  // Moves the slots of `from` at and above `at` behind those of `to`.
  template <class Node>
  static void move_tail(Node& from, u32 at, Node& to) {
    const auto move = [&](auto& source, auto& target) {
      for (u32 i = at; i < from.count; ++i) target[to.count + (i - at)] = std::exchange(source[i], {});
    };
    [&]<std::size_t... kColumn>(std::index_sequence<kColumn...>) {
      auto source = from.columns();
      auto target = to.columns();
      (move(std::get<kColumn>(source), std::get<kColumn>(target)), ...);
    }(std::make_index_sequence<std::tuple_size_v<decltype(from.columns())>>{});
    to.count += from.count - at;
    from.count = at;
  }

  static Span span_of(const Leaf& leaf) {
    Span span{leaf.start[0], leaf.last[leaf.count - 1], 0};
    for (u32 i = 1; i < leaf.count; ++i) span.gap = std::max(span.gap, leaf.start[i] - leaf.last[i - 1] - 1);
    return span;
  }
  static Span span_of(const Inner& node) {
    Span span{node.start[0], node.last[node.count - 1], node.gap[0]};
    for (u32 i = 1; i < node.count; ++i)
      span.gap = std::max({span.gap, node.gap[i], node.start[i] - node.last[i - 1] - 1});
    return span;
  }

  std::pair<Leaf*, u32> locate(u64 start, u64 last) const {
    if (!root_) return {};
    Child at = root_;
    for (u32 level = 0; level < height_; ++level) {
      const u32 slot = position(*at.inner, start);
      if (slot == at.inner->count) return {};
      at = at.inner->child[slot];
    }
    const u32 i = position(*at.leaf, start);
    if (i == at.leaf->count || at.leaf->start[i] > last) return {};
    return {at.leaf, i};
  }
  // The leaf where an interval that ends at `last` is or belongs. Pre: not empty.
  Leaf* descend(u64 last, Path& path) const {
    Child at = root_;
    for (u32 level = 0; level < height_; ++level) {
      const u32 slot = std::min(position(*at.inner, last), at.inner->count - 1);
      path[level] = {at.inner, slot};
      at = at.inner->child[slot];
    }
    return at.leaf;
  }

  // The nodes of an insertion: all are there before anything changes.
  struct Spare {
    std::unique_ptr<Leaf> leaf;
    std::array<std::unique_ptr<Inner>, kMostLevels> inner;
    u32 inners = 0;
    Inner* take() { return inner[--inners].release(); }
  };
  Spare prepare_split(const Leaf& leaf, const Path& path) const {
    Spare spare;
    if (leaf.count < kFan) return spare;
    spare.leaf = std::make_unique<Leaf>();
    u32 level = height_;
    while (level != 0 && path[level - 1].node->count == kFan) --level;
    spare.inners = height_ - level + (level == 0 ? 1 : 0);
    IOMMUFD_ASSERT(height_ + 1 < kMostLevels);
    for (u32 i = 0; i < spare.inners; ++i) spare.inner[i] = std::make_unique<Inner>();
    return spare;
  }
  // Where a full node is cut so that a slot can go in at `at`. Who only appends fills the nodes.
  static constexpr u32 cut_for(u32 at) { return at == kFan ? kFan : kFan / 2; }

  void grow_upwards(const Path& path, Span changed, Child added, Span added_span, Spare& spare);
  void shrink_upwards(const Path& path);
  // After an erasure below the child in `slot`: removes it when it is empty, merges it with a neighbour when it is nearly so and
  // both together leave room. True when `parent` has lost a slot.
  template <class Node>
  bool tidy(Inner& parent, u32 slot, Node* Child::* kind);
  template <class Node>
  void remove_child(Inner& parent, u32 slot, Node* Child::* kind) {
    Node* const gone = parent.child[slot].*kind;
    unlink(*gone);
    delete gone;
    close_up(parent, slot);
  }
  void unlink(Leaf& leaf) {
    (leaf.previous != nullptr ? leaf.previous->next : first_) = leaf.next;
    if (leaf.next != nullptr) leaf.next->previous = leaf.previous;
  }
  void unlink(Inner&) {}
  static void destroy(Child node, u32 height) noexcept {
    if (height == 0) {
      delete node.leaf;
      return;
    }
    for (u32 i = 0; i < node.inner->count; ++i) destroy(node.inner->child[i], height - 1);
    delete node.inner;
  }

  static std::optional<IovaRange> tail(u64 from, u64 length) {
    if (~u64{0} - from < length - 1) return std::nullopt;
    return IovaRange{from, ~u64{0}};
  }
  static std::optional<IovaRange> gap_behind(Child node, u32 height, u64 start, u64 length);

  Child root_;      // null: empty
  u32 height_ = 0;  // levels of inner nodes
  Leaf* first_ = nullptr;
  std::size_t size_ = 0;
};

template <class V>
void IntervalMap<V>::insert(u64 start, u64 last, V value) {
  static_assert(std::is_nothrow_move_assignable_v<V> && std::is_nothrow_default_constructible_v<V>);
  if (!root_) root_ = first_ = std::make_unique<Leaf>().release();
  Path path;
  Leaf* leaf = descend(last, path);
  Spare spare = prepare_split(*leaf, path);
  Leaf* const added = spare.leaf.release();
  u32 at = position(*leaf, last);
  Leaf* into = leaf;
  if (added != nullptr) {
    const u32 cut = cut_for(at);
    move_tail(*leaf, cut, *added);
    added->previous = leaf;
    added->next = leaf->next;
    if (leaf->next != nullptr) leaf->next->previous = added;
    leaf->next = added;
    if (at > cut || cut == kFan) {
      into = added;
      at -= cut;
    }
  }
  make_room(*into, at);
  into->start[at] = start;
  into->last[at] = last;
  into->value[at] = std::move(value);
  ++size_;
  grow_upwards(path, span_of(*leaf), added, added != nullptr ? span_of(*added) : Span{}, spare);
}

// From the parent of the leaf to the root: the span of the child in the path has changed, and it may have got a neighbour.
template <class V>
void IntervalMap<V>::grow_upwards(const Path& path, Span changed, Child added, Span added_span, Spare& spare) {
  for (u32 level = height_; level-- != 0;) {
    const auto [node, slot] = path[level];
    node->set(slot, changed);
    Inner* other = nullptr;
    if (added) {
      u32 at = slot + 1;
      Inner* into = node;
      if (node->count == kFan) {
        other = spare.take();
        const u32 cut = cut_for(at);
        move_tail(*node, cut, *other);
        if (at > cut || cut == kFan) {
          into = other;
          at -= cut;
        }
      }
      make_room(*into, at);
      into->set(at, added_span);
      into->child[at] = added;
    }
    const Span before = level != 0 && other == nullptr ? span_in(path[level - 1]) : Span{};
    changed = span_of(*node);
    if (level != 0 && other == nullptr && changed == before) return;
    added = other != nullptr ? Child(other) : Child();
    if (other != nullptr) added_span = span_of(*other);
  }
  if (!added) return;
  Inner* const root = spare.take();
  root->count = 2;
  root->child[0] = root_;
  root->child[1] = added;
  root->set(0, changed);
  root->set(1, added_span);
  root_ = root;
  ++height_;
}

template <class V>
void IntervalMap<V>::erase(const_iterator it) {
  Path path;
  Leaf* leaf = descend(it.leaf_->last[it.index_], path);
  close_up(*leaf, it.index_);
  --size_;
  if (size_ == 0) return clear();
  shrink_upwards(path);
}

template <class V>
void IntervalMap<V>::shrink_upwards(const Path& path) {
  for (u32 level = height_; level-- != 0;) {
    const auto [node, slot] = path[level];
    const Span before = level != 0 ? span_in(path[level - 1]) : Span{};
    const bool lost_slot = level + 1 == height_ ? tidy(*node, slot, &Child::leaf) : tidy(*node, slot, &Child::inner);
    if (!lost_slot && level != 0 && span_of(*node) == before) return;
  }
  while (height_ != 0 && root_.inner->count == 1) {
    Inner* const old = root_.inner;
    root_ = old->child[0];
    --height_;
    delete old;
  }
}

template <class V>
template <class Node>
bool IntervalMap<V>::tidy(Inner& parent, u32 slot, Node* Child::* kind) {
  const auto child = [&](u32 i) -> Node& { return *(parent.child[i].*kind); };
  if (child(slot).count == 0) {
    remove_child(parent, slot, kind);
    return true;
  }
  parent.set(slot, span_of(child(slot)));
  if (child(slot).count > kFan / 4) return false;
  const auto leave_room = [&](u32 lower) { return child(lower).count + child(lower + 1).count <= kFan * 3 / 4; };
  u32 lower = slot;
  if (slot != 0 && leave_room(slot - 1))
    lower = slot - 1;
  else if (slot + 1 == parent.count || !leave_room(slot))
    return false;
  move_tail(child(lower + 1), 0, child(lower));
  remove_child(parent, lower + 1, kind);
  parent.set(lower, span_of(child(lower)));
  return true;
}

template <class V>
std::optional<IovaRange> IntervalMap<V>::next_gap(u64 from, u64 length) const {
  const auto [leaf, i] = locate(from, ~u64{0});
  if (leaf == nullptr) return tail(from, length);
  if (leaf->start[i] > from && leaf->start[i] - from >= length) return IovaRange{from, leaf->start[i] - 1};
  if (const auto found = gap_behind(root_, height_, leaf->last[i], length)) return found;
  const u64 end = height_ != 0 ? root_.inner->last[root_.inner->count - 1] : root_.leaf->last[root_.leaf->count - 1];
  return end == ~u64{0} ? std::nullopt : tail(end + 1, length);
}

// The first gap of `length` between two intervals at and below `node`, the first of which does not end before `start`.
// Descends at most twice to the bottom: where a span promises a gap and nothing below it lies before `start`, there is one.
template <class V>
std::optional<IovaRange> IntervalMap<V>::gap_behind(Child node, u32 height, u64 start, u64 length) {
  const auto between = [&](const auto& n, u32 i) { return n.start[i] - n.last[i - 1] - 1 >= length; };
  const auto range = [](const auto& n, u32 i) { return IovaRange{n.last[i - 1] + 1, n.start[i] - 1}; };
  if (height == 0) {
    const Leaf& leaf = *node.leaf;
    for (u32 i = position(leaf, start) + 1; i < leaf.count; ++i) {
      if (between(leaf, i)) return range(leaf, i);
    }
    return std::nullopt;
  }
  const Inner& inner = *node.inner;
  const u32 first = position(inner, start);
  for (u32 i = first; i < inner.count; ++i) {
    if (i != first && between(inner, i)) return range(inner, i);
    if (inner.gap[i] < length) continue;
    if (const auto found = gap_behind(inner.child[i], height - 1, start, length)) return found;
  }
  return std::nullopt;
}

}  // namespace iommufd::iova

// SPDX-License-Identifier: BSD-3-Clause
// What a page table must do, said without any trick: a sorted list of entries that the rule of spec 8.2 makes one after the other, the
// items that are dirty, and the level of the root. It predicts every answer: errno, `mapped`, bytes unmapped, each translation, each
// dirty range, how many items there may be, and when the root grows.
#pragma once

#include <algorithm>
#include <bit>
#include <map>
#include <vector>

#include "tests/contract/pt/rig.hpp"

namespace iommufd::pt::test {

struct Entry {
  u64 va;
  u64 size;
  u64 oa;
  Access access;
  [[nodiscard]] u64 last() const { return va + (size - 1); }
};

template <PageTableFormat F>
class Model {
 public:
  Model(const TableConfig& config, u64 sizes) : config_(config), sizes_(sizes), level_(config.top_level) {}

  // The largest size that can begin the range, or 0.
  [[nodiscard]] u64 best(u64 va, u64 oa, u64 length) const {
    for (u64 rest = sizes_; rest != 0;) {
      const u64 size = std::bit_floor(rest);
      if (is_aligned(va, size) && is_aligned(oa, size) && size <= length) return size;
      rest ^= size;
    }
    return 0;
  }

  // Why a range is none of this table as it is now; 0: it is one.
  [[nodiscard]] Errno check_range(u64 va, u64 length) const {
    if (length == 0) return Errno::kInval;
    const u64 last = va + (length - 1);
    if (last < va) return Errno::kOverflow;
    return covers(level_, va, last) ? Errno{0} : Errno::kRange;
  }

  // `mapped`: bytes installed before an error.
  Errno map(u64 va, u64 oa, u64 length, Access access, u64& mapped) {
    mapped = 0;
    if ((access & Access::kReadWrite) == Access::kNone) return Errno::kInval;
    if (oa >> config_.oa_bits != 0) return Errno::kRange;
    if (config_.features.has(Feature::kForceWriteable) && !allows(access, Access::kWrite)) return Errno::kInval;
    if (const Errno e = check_range(va, length); e != Errno{0} && e != Errno::kRange) return e;
    const u64 first = best(va, oa, length);
    if (first == 0) return Errno::kNxio;
    if (!grow(va, va + (length - 1), level_of<F>(lg2(first)))) return Errno::kRange;
    if (find(va) != nullptr) return F::kInUse;

    const auto next = std::ranges::upper_bound(entries_, va, {}, &Entry::va);
    const u64 room = next == entries_.end() ? length : std::min(length, next->va - va);
    Errno error{0};
    std::vector<Entry> made;
    while (mapped < length && error == Errno{0}) {
      const u64 size = best(va + mapped, oa + mapped, length - mapped);
      if (size == 0) {
        error = Errno::kNxio;  // a rest below the smallest size
      } else if (size > room - mapped) {
        error = F::kInUse;
      } else {
        made.push_back({va + mapped, size, oa + mapped, F::granted(access)});
        mapped += size;
      }
    }
    entries_.insert(next, made.begin(), made.end());
    return error;
  }

  u64 unmap(u64 va, u64 length) {
    if (check_range(va, length) != Errno{0}) return 0;
    const auto first = std::ranges::lower_bound(entries_, va, {}, &Entry::va);
    u64 done = 0;
    auto end = first;
    for (; done < length && end != entries_.end() && end->va == va + done; ++end) done += end->size;
    if (done != 0) dirty_.erase(dirty_.lower_bound(va), dirty_.upper_bound(va + (done - 1)));
    entries_.erase(first, end);
    return done;
  }

  // The entry that translates `va`.
  [[nodiscard]] const Entry* find(u64 va) const {
    const auto next = std::ranges::upper_bound(entries_, va, {}, &Entry::va);
    return next != entries_.begin() && std::prev(next)->last() >= va ? &*std::prev(next) : nullptr;
  }
  [[nodiscard]] std::optional<Translation> lookup(u64 va) const {
    const Entry* const e = find(va);
    return e != nullptr ? std::optional{translation<F>(e->oa, e->access, e->size, va - e->va)} : std::nullopt;
  }

  // The entry that reaches across `at` becomes entries of the next smaller size, and so does the one of these that still reaches across
  // it.
  Errno cut(u64 at) {
    if (!is_aligned(at, smallest())) return Errno::kInval;
    for (const Entry* e = find(at); e != nullptr && e->va != at; e = find(at)) {
      const Entry whole = *e;
      const u64 size = std::bit_floor(sizes_ & (whole.size - 1));
      std::vector<Entry> parts;
      for (u64 done = 0; done < whole.size; done += size)
        parts.push_back({whole.va + done, size, whole.oa + done, whole.access});
      const auto place = entries_.begin() + (e - entries_.data());
      *place = parts.front();
      entries_.insert(place + 1, parts.begin() + 1, parts.end());
      if (item_of(size) != item_of(whole.size)) dirty_below(whole, item_of(size));
    }
    return Errno{0};
  }

  // Of set_dirty and record_write: what the second does to the accessed bit nobody sees here.
  Errno set_dirty(u64 va) {
    if (check_range(va, 1) != Errno{0}) return Errno::kRange;
    const Entry* const e = find(va);
    if (!F::kTracksDirty || e == nullptr) return Errno::kNoEnt;
    const u64 item = item_of(e->size);
    dirty_[align_down(va, item)] = item;
    return Errno{0};
  }
  // `found`: the dirty items of the range, clipped; unless kReadOnly they are clean afterwards.
  Errno read_and_clear(u64 va, u64 length, DirtyMode mode, std::vector<IovaRange>& found) {
    if (const Errno e = check_range(va, length); e != Errno{0}) return e;
    const u64 last = va + (length - 1);
    auto it = dirty_.upper_bound(va);
    if (it != dirty_.begin() && std::prev(it)->first + (std::prev(it)->second - 1) >= va) --it;
    while (it != dirty_.end() && it->first <= last) {
      found.push_back({std::max(va, it->first), std::min(last, it->first + (it->second - 1))});
      it = mode == DirtyMode::kReadAndClear ? dirty_.erase(it) : std::next(it);
    }
    return Errno{0};
  }

  [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }
  [[nodiscard]] unsigned top_level() const { return level_; }
  [[nodiscard]] u64 smallest() const { return sizes_ & -sizes_; }
  // Leaf items in all tables.
  [[nodiscard]] u64 items() const {
    u64 n = 0;
    for (const Entry& e : entries_) n += e.size / item_of(e.size);
    return n;
  }

 private:
  static unsigned lg2(u64 size) { return static_cast<unsigned>(std::countr_zero(size)); }
  // Bytes that one item translates of an entry of `size`.
  static u64 item_of(u64 size) { return item_size<F>(level_of<F>(lg2(size))); }

  // Whether a root at `level` reaches all of [va, last].
  [[nodiscard]] bool covers(unsigned level, u64 va, u64 last) const {
    const unsigned bits = std::min(config_.va_bits, F::item_lg2(level) + F::kIndexBits);
    if (!config_.features.has(Feature::kSignExtend)) return bits == 64 || last >> bits == 0;
    return sign_extend(va, bits) == va && sign_extend(last, bits) == last && va >> 63 == last >> 63;
  }
  // Levels on top until the root covers the range and its tables hold leaves of `level`. False: there can be no such root.
  bool grow(u64 va, u64 last, unsigned level) {
    unsigned to = level_;
    while (to < level || !covers(to, va, last)) {
      ++to;
      if (!config_.features.has(Feature::kDynamicTop)) return false;
      if (to > F::kMaxTopLevel || F::item_lg2(to) >= config_.va_bits) return false;
    }
    level_ = to;
    return true;
  }
  // Dirty items of what was one entry become dirty items of `item` bytes.
  void dirty_below(const Entry& whole, u64 item) {
    std::vector<std::pair<u64, u64>> old;
    for (auto it = dirty_.lower_bound(whole.va); it != dirty_.end() && it->first <= whole.last(); it = dirty_.erase(it))
      old.push_back(*it);
    for (const auto& [at, bytes] : old)
      for (u64 done = 0; done < bytes; done += item) dirty_[at + done] = item;
  }

  const TableConfig config_;
  const u64 sizes_;
  unsigned level_;              // of the root
  std::vector<Entry> entries_;  // by address
  std::map<u64, u64> dirty_;    // items: bytes by address
};

}  // namespace iommufd::pt::test

// SPDX-License-Identifier: BSD-3-Clause
// Random maps, unmaps, cuts and dirty bits against a std::map of entries. The model cuts ranges with the rule of spec 8.2, one entry after
// the other and without any trick, so it predicts every answer: errno, `mapped`, bytes unmapped, each translation,
// each dirty range, and how many items there may be. IOMMUFD_PT_RANDOM_OPS sets the operations per configuration.
#include <cstdlib>
#include <map>
#include <random>
#include <vector>

#include "tests/contract/pt/rig.hpp"

namespace iommufd::pt::test {
namespace {

struct Entry {
  u64 size;
  u64 oa;
  Access access;
};

template <PageTableFormat F>
class Model {
 public:
  explicit Model(u64 sizes) : sizes_(sizes) {}

  // The largest size that can begin the range, or 0.
  [[nodiscard]] u64 best(u64 va, u64 oa, u64 length) const {
    for (unsigned s = 63; s > 0; --s) {
      const u64 size = u64{1} << s;
      if ((sizes_ & size) != 0 && va % size == 0 && oa % size == 0 && size <= length) return size;
    }
    return 0;
  }
  [[nodiscard]] bool overlaps(u64 va, u64 size) const {
    const auto next = entries_.lower_bound(va);
    if (next != entries_.end() && next->first - va < size) return true;
    return next != entries_.begin() && va - std::prev(next)->first < std::prev(next)->second.size;
  }

  // Bytes installed before `error`.
  Errno map(u64 va, u64 oa, u64 length, Access access, u64& mapped) {
    mapped = 0;
    if (best(va, oa, length) == 0) return Errno::kNxio;
    while (mapped < length) {
      const u64 size = best(va + mapped, oa + mapped, length - mapped);
      if (size == 0) return Errno::kNxio;  // a rest below the smallest size
      if (overlaps(va + mapped, size)) return F::kInUse;
      entries_[va + mapped] = {size, oa + mapped, F::granted(access)};
      mapped += size;
    }
    return Errno{0};
  }

  u64 unmap(u64 va, u64 length) {
    u64 done = 0;
    while (done < length) {
      const auto it = entries_.find(va + done);
      if (it == entries_.end()) break;
      dirty_.erase(dirty_.lower_bound(va + done), dirty_.upper_bound(va + done + (it->second.size - 1)));
      done += it->second.size;
      entries_.erase(it);
    }
    return done;
  }

  [[nodiscard]] std::optional<Translation> lookup(u64 va) const {
    auto it = entries_.upper_bound(va);
    if (it == entries_.begin()) return std::nullopt;
    --it;
    const u64 at = va - it->first;
    if (at >= it->second.size) return std::nullopt;
    return translation<F>(it->second.oa, it->second.access, it->second.size, at);
  }

  // The entry that reaches across `at` becomes entries of the next smaller size, and so does the one of these that still
  // reaches across it.
  void cut(u64 at) {
    auto it = entries_.upper_bound(at);
    if (it == entries_.begin()) return;
    --it;
    while (at - it->first < it->second.size && at != it->first) {
      const auto [va, whole] = *it;
      const u64 size = std::bit_floor(sizes_ & (whole.size - 1));
      entries_.erase(it);
      for (u64 done = 0; done < whole.size; done += size) entries_[va + done] = {size, whole.oa + done, whole.access};
      if (item_of(size) != item_of(whole.size)) dirty_below(va, whole.size, item_of(size));
      it = std::prev(entries_.upper_bound(at));
    }
  }

  // Bytes that one item translates of an entry of `size`.
  static u64 item_of(u64 size) { return item_size<F>(level_of<F>(static_cast<unsigned>(std::bit_width(size)) - 1)); }
  void set_dirty(u64 va) {
    const auto it = std::prev(entries_.upper_bound(va));
    const u64 item = item_of(it->second.size);
    dirty_[align_down(va, item)] = item;
  }
  // The dirty items of [va, va + length), clipped; they are clean afterwards.
  std::vector<IovaRange> read_and_clear(u64 va, u64 length, DirtyMode mode) {
    std::vector<IovaRange> out;
    auto it = dirty_.upper_bound(va);
    if (it != dirty_.begin()) --it;
    while (it != dirty_.end() && (it->first <= va || it->first - va < length)) {
      const u64 last = it->first + (it->second - 1);
      const bool inside = last >= va;
      if (inside) out.push_back({std::max(va, it->first), std::min(last, va + (length - 1))});
      it = inside && mode == DirtyMode::kReadAndClear ? dirty_.erase(it) : std::next(it);
    }
    return out;
  }

  [[nodiscard]] const std::map<u64, Entry>& entries() const { return entries_; }

 private:
  // Dirty items in [va, va + size) become dirty items of `item` bytes.
  void dirty_below(u64 va, u64 size, u64 item) {
    std::vector<std::pair<u64, u64>> whole;
    for (auto it = dirty_.lower_bound(va); it != dirty_.end() && it->first - va < size; it = dirty_.erase(it))
      whole.push_back(*it);
    for (const auto& [at, bytes] : whole)
      for (u64 done = 0; done < bytes; done += item) dirty_[at + done] = item;
  }

  const u64 sizes_;
  std::map<u64, Entry> entries_;
  std::map<u64, u64> dirty_;  // items: bytes by start
};

template <PageTableFormat F>
class RandomRun {
 public:
  RandomRun(Rig<F>& rig, u64 seed) : rig_(rig), model_(rig.table->pgsize_bitmap()), random_(seed) {}

  void run(u64 operations) {
    for (u64 i = 0; i < operations && !::testing::Test::HasFailure(); ++i) {
      const u64 dice = below(16);
      if (dice == 0)
        cut();
      else if (dice < 3)
        dirty();
      else
        model_.entries().size() < 1500 && below(5) < 3 ? map() : unmap();
      if (i % 128 == 0) compare_all();
    }
    compare_all();
    while (!model_.entries().empty()) {
      const auto [va, entry] = *model_.entries().begin();
      ASSERT_EQ(rig_.unmap(va, entry.size), model_.unmap(va, entry.size));
    }
    EXPECT_EQ(rig_.count_leaf_items(), 0u);
  }

 private:
  static constexpr u64 kGranule = u64{1} << F::kGranuleLg2;

  u64 below(u64 n) { return random_() % n; }

  // A range of a few units of some size near one of the places where tables begin and end. Few enough entries.
  void pick(u64& va, u64& oa, u64& length) {
    const u64 last = rig_.table->aperture().last;
    const u64 oa_space = u64{1} << rig_.config.oa_bits;
    for (;;) {
      const unsigned bits = static_cast<unsigned>(std::bit_width(last));
      const u64 unit = kGranule << below(bits - F::kGranuleLg2 - 1);
      const u64 places[] = {0, last / 2 + 1, last - 32 * unit + 1, u64{1} << (12 + 9 * below(6)), last / 8 * below(8)};
      const u64 place = align_down(places[below(5)], below(2) == 0 ? unit : kGranule);
      va = place + below(32) * unit;
      length = (1 + below(16)) * (below(4) == 0 ? kGranule : unit);
      if (length > oa_space || length == 0) continue;
      const u64 congruent = kGranule << below(rig_.config.oa_bits - F::kGranuleLg2);
      oa = align_down(below(oa_space - length + 1), congruent) + va % congruent;
      if (oa > oa_space - length) continue;
      if (va > last || last - va < length - 1) continue;
      const u64 size = model_.best(va, oa, length);
      if (size == 0 || length / size > (below(16) == 0 ? 800 : 20)) continue;
      if (below(64) == 0) oa += kGranule / 2;
      return;
    }
  }

  void map() {
    u64 va = 0, oa = 0, length = 0, expected = 0;
    pick(va, oa, length);
    const bool writeable = rig_.config.features.has(Feature::kForceWriteable);
    const Access access = writeable ? Access::kReadWrite : static_cast<Access>(1 + below(3));
    const Errno error = model_.map(va, oa, length, access, expected);
    ASSERT_EQ(error_of(rig_.map(va, oa, length, access)), error) << std::hex << va << " " << oa << " " << length;
    ASSERT_EQ(rig_.last_mapped, expected);
    if (error != Errno{0} && expected != 0) {
      ASSERT_EQ(rig_.unmap(va, expected), expected);
      model_.unmap(va, expected);
    }
    check(va), check(va + length - 1), check(va + below(length));
  }

  // Mostly something that is mapped: from an entry on, or from inside it, for a length that may end anywhere.
  void unmap() {
    u64 va = 0, oa = 0, length = 0;
    if (below(8) == 0 || model_.entries().empty()) {
      pick(va, oa, length);
    } else {
      auto it = model_.entries().begin();
      std::advance(it, below(model_.entries().size()));
      va = it->first;
      if (below(8) == 0) va += below(it->second.size) & ~(kGranule - 1);
      length = kGranule * (1 + below(8)) + it->second.size * below(below(4) == 0 ? 512 : 8);
    }
    if (rig_.table->aperture().last - va < length - 1) length = rig_.table->aperture().last - va + 1;
    if (length == 0) return;
    // A range above the present root is not valid: nothing is there, and the model agrees.
    ASSERT_EQ(rig_.unmap(va, length), model_.unmap(va, length)) << std::hex << va << " " << length;
    check(va), check(va + length - 1);
  }

  // Where something is mapped; 0 when nothing is.
  u64 pick_mapped() {
    if (model_.entries().empty()) return 0;
    auto it = model_.entries().begin();
    std::advance(it, below(model_.entries().size()));
    return it->first + below(it->second.size);
  }

  // Translations stay, whatever the cut makes of the entry.
  void cut() {
    const u64 smallest = rig_.table->pgsize_bitmap() & -rig_.table->pgsize_bitmap();
    const u64 at = align_down(pick_mapped(), below(4) == 0 ? u64{1} << 21 : smallest);
    if (model_.entries().size() > 3000) return;
    Gather gather(*rig_.arena);
    ASSERT_EQ(error_of(rig_.table->cut(Iova{at}, gather)), Errno{0}) << std::hex << at;
    ASSERT_EQ(gather.tables(), 0u);
    gather.free();
    model_.cut(at);
    check(at), check(at - 1), check(at + smallest);
  }

  void dirty() {
    if constexpr (F::kTracksDirty) {
      struct Sink : DirtySink {
        void dirty(Iova iova, u64 length) override { ranges.push_back({iova.raw(), iova.raw() + (length - 1)}); }
        std::vector<IovaRange> ranges;
      };
      const u64 va = pick_mapped();
      if (model_.entries().empty()) return;
      if (below(3) != 0) {
        ASSERT_EQ(error_of(rig_.table->set_dirty(Iova{va})), Errno{0}) << std::hex << va;
        model_.set_dirty(va);
        return;
      }
      const u64 length = std::min(kGranule << below(24), rig_.table->aperture().last - va + 1);
      const DirtyMode mode = below(2) == 0 ? DirtyMode::kReadOnly : DirtyMode::kReadAndClear;
      Sink sink;
      Gather gather(*rig_.arena);
      // What no root covers yet is no range of this table.
      const Errno e = error_of(rig_.table->read_and_clear_dirty(Iova{va}, length, mode, sink, gather));
      gather.free();
      if (e == Errno::kRange) return;
      ASSERT_EQ(e, Errno{0});
      ASSERT_EQ(sink.ranges, model_.read_and_clear(va, length, mode)) << std::hex << va << " " << length;
    }
  }

  void check(u64 va) { ASSERT_EQ(rig_.lookup(va), model_.lookup(va)) << std::hex << va; }

  void compare_all() {
    u64 items = 0;
    for (const auto& [va, entry] : model_.entries()) {
      items += entry.size >> F::item_lg2(level_of<F>(static_cast<unsigned>(std::bit_width(entry.size)) - 1));
      check(va), check(va + entry.size - 1), check(va + entry.size), check(va - 1);
    }
    ASSERT_EQ(rig_.count_leaf_items(), items);
  }

  Rig<F>& rig_;
  Model<F> model_;
  std::mt19937_64 random_;
};

u64 operations() {
  const char* text = std::getenv("IOMMUFD_PT_RANDOM_OPS");
  return text != nullptr ? std::strtoull(text, nullptr, 0) : 11'000;
}

template <class F>
class PtModel : public ::testing::Test {};
TYPED_TEST_SUITE(PtModel, Formats, FormatName);

TYPED_TEST(PtModel, random_operations_agree_with_the_model) {
  u64 seed = 1;
  on_each_config<TypeParam>([&](auto& rig) { RandomRun<TypeParam>(rig, seed++).run(operations()); });
}

}  // namespace
}  // namespace iommufd::pt::test

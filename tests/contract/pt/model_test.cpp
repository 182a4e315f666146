// SPDX-License-Identifier: BSD-3-Clause
// Random maps and unmaps against a std::map of entries. The model cuts ranges with the rule of spec 8.2, one entry after
// the other and without any trick, so it predicts every answer: errno, `mapped`, bytes unmapped, each translation, and
// how many tables there may be. IOMMUFD_PT_RANDOM_OPS sets the operations per configuration.
#include <cstdlib>
#include <map>
#include <random>

#include "tests/contract/pt/rig.hpp"

namespace iommufd::pt::test {
namespace {

struct Entry {
  u64 size;
  u64 oa;
  Access access;
};

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
      if (overlaps(va + mapped, size)) return Errno::kAddrInUse;
      entries_[va + mapped] = {size, oa + mapped, access};
      mapped += size;
    }
    return Errno{0};
  }

  u64 unmap(u64 va, u64 length) {
    u64 done = 0;
    while (done < length) {
      const auto it = entries_.find(va + done);
      if (it == entries_.end()) break;
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
    return Translation{PhysAddr{it->second.oa + at}, it->second.access, it->second.size - at};
  }

  [[nodiscard]] const std::map<u64, Entry>& entries() const { return entries_; }

 private:
  const u64 sizes_;
  std::map<u64, Entry> entries_;
};

template <PageTableFormat F>
class RandomRun {
 public:
  RandomRun(Rig<F>& rig, u64 seed) : rig_(rig), model_(rig.table->pgsize_bitmap()), random_(seed) {}

  void run(u64 operations) {
    for (u64 i = 0; i < operations && !::testing::Test::HasFailure(); ++i) {
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
  Model model_;
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

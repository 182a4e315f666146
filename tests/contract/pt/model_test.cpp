// SPDX-License-Identifier: BSD-3-Clause
// Random maps, unmaps, cuts and dirty bits against a model (model.hpp) that predicts every answer. Each operation is checked where it
// took place, the whole table from time to time. Addresses are chosen near those where something begins or ends: both halves of
// sign-extended spaces and the hole between them, the aperture, tables of each level, the place where a root has to grow. Some requests
// are out of range, not aligned or otherwise refused.
//
// 11,000 operations for each configuration of a format; for more, and other ones:
//   IOMMUFD_PT_RANDOM_OPS=10000000 build/release/tests/contract_pt --gtest_filter='PtModel/riscv.*'
// IOMMUFD_PT_RANDOM_OPS is the sum for a format, divided among its configurations. A table lives for 2,750 operations: then comes a new
// one with the next seed. A failure names its seed, and IOMMUFD_PT_RANDOM_SEED begins with that one.
#include <cstdlib>
#include <random>

#include "tests/contract/pt/model.hpp"

namespace iommufd::pt::test {
namespace {

struct Ranges : DirtySink {
  void dirty(Iova iova, u64 length) override { found.push_back({iova.raw(), iova.raw() + (length - 1)}); }
  std::vector<IovaRange> found;
};

template <PageTableFormat F>
class RandomRun {
 public:
  RandomRun(Rig<F>& rig, u64 seed)
      : rig_(rig), table_(*rig.table), model_(rig.config, rig.table->pgsize_bitmap()), random_(seed) {}

  void run(u64 operations) {
    for (u64 i = 1; i <= operations; ++i) {
      const u64 dice = below(16);
      if (dice == 0 && !crowded())
        cut();
      else if (dice < 4)
        dirty();
      else if (dice < 11 && !crowded())
        map();
      else
        unmap();
      if (i % 200 == 0 || i == operations) compare_all();
      if (::testing::Test::HasFailure()) FAIL() << "operation " << i;
    }
    while (!entries().empty()) {
      const Entry e = entries().back();
      ASSERT_EQ(rig_.unmap(e.va, e.size), model_.unmap(e.va, e.size));
    }
    EXPECT_EQ(rig_.count_leaf_items(), 0u);
  }

 private:
  static constexpr u64 kGranule = u64{1} << F::kGranuleLg2;
  struct Range {
    u64 va, length;
  };

  u64 below(u64 n) { return random_() % n; }
  bool rarely() { return below(128) == 0; }
  const std::vector<Entry>& entries() const { return model_.entries(); }
  const Entry& any_entry() { return entries()[below(entries().size())]; }
  const Entry& entry_after(u64 i) { return entries()[std::min(i + below(8), entries().size() - 1)]; }
  bool crowded() const { return entries().size() > 1500; }
  bool grows() const { return rig_.config.features.has(Feature::kDynamicTop); }

  u64 edge() {
    const u64 last = table_.aperture().last;
    switch (below(4)) {
      case 0: return 0;
      case 1: return last + 1;
      case 2: return u64{1} << std::min(63u, F::item_lg2(static_cast<unsigned>(below(F::kMaxTopLevel + 2))));
      default: return last / 8 * below(8);
    }
  }

  // A range of a few units of some size near an edge, before or behind it, or near its counterpart below 2^64. Mostly one that the table
  // covers, and `oa` mostly such that few entries are enough. A root that grows is in use for a while before it does.
  Range pick(u64& oa) {
    const u64 oa_space = u64{1} << rig_.config.oa_bits;
    const unsigned bits = static_cast<unsigned>(std::bit_width(table_.aperture().last));
    for (;;) {
      const u64 unit = kGranule << below(bits - F::kGranuleLg2 - 1);
      const u64 place = align_down(below(2) == 0 ? edge() : -edge(), below(2) == 0 ? unit : kGranule);
      const Range r{place + (below(64) - 32) * unit, (1 + below(16)) * (below(4) == 0 ? kGranule : unit)};
      if (r.length > oa_space || r.length == 0) continue;
      if (model_.check_range(r.va, r.length) != Errno{0} && below(grows() ? 2048 : 32) != 0) continue;
      const u64 congruent = kGranule << below(rig_.config.oa_bits - F::kGranuleLg2);
      oa = align_down(below(oa_space - r.length + 1), congruent) + r.va % congruent;
      if (oa > oa_space - r.length) continue;
      const u64 size = model_.best(r.va, oa, r.length);
      if (size != 0 && r.length / size <= (below(16) == 0 ? 800 : 20)) return r;
    }
  }

  // What no range has that begins at `va`: nothing, the end of all spaces and more, both halves and the hole.
  u64 bad_length(u64 va) {
    const u64 lengths[] = {0, -va + kGranule, -va};
    return lengths[below(grows() || va >> 63 != 0 ? 2 : 3)];
  }

  void map() {
    u64 oa = 0, expected = 0;
    auto [va, length] = pick(oa);
    Access access = static_cast<Access>(1 + below(3));
    if (rarely()) oa += kGranule / 2;
    if (rarely()) oa |= u64{1} << rig_.config.oa_bits;
    if (rarely()) va += kGranule / 2;
    if (rarely()) length += kGranule / 2;
    if (rarely()) length = bad_length(va);
    if (rarely()) access = Access::kNone;
    if (below(4) == 0) access = access | Access::kNoExecute;
    const Errno error = model_.map(va, oa, length, access, expected);
    ASSERT_EQ(error_of(rig_.map(va, oa, length, access)), error) << std::hex << va << " " << oa << " " << length;
    ASSERT_EQ(rig_.last_mapped, expected);
    ASSERT_EQ(table_.top().level, model_.top_level());
    if (error != Errno{0} && expected != 0) {
      ASSERT_EQ(rig_.unmap(va, expected), expected);
      ASSERT_EQ(model_.unmap(va, expected), expected);
    }
    check_around(va, length);
  }

  // Mostly something that is mapped: from an entry on, or from inside it, for a length that may end anywhere.
  void unmap() {
    Range r{};
    if (below(8) == 0 || entries().empty()) {
      u64 oa = 0;
      r = pick(oa);
    } else {
      const Entry& e = any_entry();
      r.va = e.va + (below(8) == 0 ? align_down(below(e.size), kGranule) : 0);
      r.length = kGranule * (1 + below(8)) + e.size * below(crowded() || below(4) == 0 ? 512 : 8);
      const u64 left = (e.va > table_.aperture().last ? ~u64{0} : table_.aperture().last) - r.va;
      if (!rarely() && left < r.length - 1) r.length = left + 1;
    }
    if (rarely()) r.length = bad_length(r.va);
    if (rarely()) r.length -= kGranule / 2;
    if (rarely()) r.va += kGranule / 2;
    ASSERT_EQ(rig_.unmap(r.va, r.length), model_.unmap(r.va, r.length)) << std::hex << r.va << " " << r.length;
    check_around(r.va, r.length);
  }

  // Where something is mapped, or at times anywhere.
  u64 pick_address() {
    u64 oa = 0;
    if (entries().empty() || rarely()) return pick(oa).va;
    const Entry& e = any_entry();
    return e.va + below(e.size);
  }

  // Translations stay, whatever the cut makes of the entry, all of which is flushed.
  void cut() {
    u64 at = align_down(pick_address(), below(4) == 0 ? u64{1} << 21 : model_.smallest());
    if (rarely()) at += kGranule / 2;
    const Entry* const e = model_.find(at);
    const Range whole = e != nullptr ? Range{e->va, e->size} : Range{at, 1};
    Gather gather(*rig_.arena);
    const Errno error = model_.cut(at);
    ASSERT_EQ(error_of(table_.cut(Iova{at}, gather)), error) << std::hex << at;
    ASSERT_EQ(gather.tables(), 0u);
    if (error == Errno{0} && e != nullptr && at != whole.va) {
      ASSERT_EQ(gather.range(), (IovaRange{whole.va, whole.va + (whole.length - 1)}));
    } else {
      ASSERT_FALSE(gather.has_range());
    }
    gather.free();
    check(at), check(at - 1), check(at + model_.smallest());
    check_around(whole.va, whole.length);
  }

  void dirty() {
    if (entries().empty() || rarely()) return mark(pick_address());
    const u64 i = below(entries().size());
    if (below(3) != 0) {
      for (u64 n = 1 + below(8); n > 0; --n) {
        const Entry& e = entry_after(i);
        mark(e.va + below(e.size));
      }
      return;
    }
    // From some entry, or the hole before it, to one of the next, or the hole behind it.
    const Entry& from = entries()[i];
    const Entry& to = entry_after(i);
    const u64 va = below(4) == 0 ? from.va - std::min(from.va, kGranule * below(64)) : from.va + below(from.size);
    const u64 last = below(4) == 0 ? to.last() + kGranule * below(64) : to.va + below(to.size);
    read_dirty(va, rarely() ? bad_length(va) : last - va + 1,
               below(2) == 0 ? DirtyMode::kReadOnly : DirtyMode::kReadAndClear);
  }

  void mark(u64 va) {
    const Result<void> done = below(2) == 0 ? table_.set_dirty(Iova{va}) : table_.record_write(Iova{va});
    ASSERT_EQ(error_of(done), model_.set_dirty(va)) << std::hex << va;
  }

  void read_dirty(u64 va, u64 length, DirtyMode mode) {
    Ranges sink;
    std::vector<IovaRange> expected;
    Gather gather(*rig_.arena);
    const Errno error = model_.read_and_clear(va, length, mode, expected);
    ASSERT_EQ(error_of(table_.read_and_clear_dirty(Iova{va}, length, mode, sink, gather)), error)
        << std::hex << va << " " << length;
    ASSERT_EQ(sink.found, expected) << std::hex << va << " " << length;
    ASSERT_EQ(gather.has_range(), mode == DirtyMode::kReadAndClear && !expected.empty());
    if (gather.has_range()) {
      ASSERT_EQ(gather.range(), (IovaRange{expected.front().start, expected.back().last}));
    }
    gather.free();
  }

  void check(u64 va) { ASSERT_EQ(rig_.lookup(va), model_.lookup(va)) << std::hex << va; }
  void check_around(u64 va, u64 length) {
    check(va - 1), check(va), check(va + length - 1), check(va + length);
    if (length != 0) check(va + below(length));
  }

  void compare_all() {
    for (const Entry& e : entries()) check(e.va - 1), check(e.va), check(e.last()), check(e.last() + 1);
    ASSERT_EQ(rig_.count_leaf_items(), model_.items());
    ASSERT_EQ(rig_.count_tables(), rig_.arena->pages_in_use());
    if (!F::kTracksDirty || entries().empty()) return;
    // One byte less: the length of all of a 64-bit space is no number.
    read_dirty(entries().front().va, entries().back().last() - entries().front().va, DirtyMode::kReadOnly);
  }

  Rig<F>& rig_;
  PageTable<F>& table_;
  Model<F> model_;
  std::mt19937_64 random_;
};

u64 number_from_environment(const char* name, u64 otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 0) : otherwise;
}

template <class F>
class PtModel : public ::testing::Test {};
TYPED_TEST_SUITE(PtModel, Formats, FormatName);

TYPED_TEST(PtModel, random_operations_agree_with_the_model) {
  using F = TypeParam;
  constexpr u64 kLife = 2'750;
  const u64 configs = F::kTestConfigs.size();
  const u64 operations = div_round_up(number_from_environment("IOMMUFD_PT_RANDOM_OPS", configs * 4 * kLife), configs);
  for (const TableConfig& config : F::kTestConfigs) {
    u64 seed = number_from_environment("IOMMUFD_PT_RANDOM_SEED", 1);
    for (u64 left = operations; left != 0 && !this->HasFailure(); ++seed) {
      SCOPED_TRACE(::testing::Message() << F::kName << ", " << config.name << ", IOMMUFD_PT_RANDOM_SEED=" << seed);
      const u64 now = std::min(left, kLife);
      Rig<F> rig(config);
      RandomRun<F>(rig, seed).run(now);
      left -= now;
    }
  }
}

}  // namespace
}  // namespace iommufd::pt::test

// SPDX-License-Identifier: BSD-3-Clause
// What every contract test of page tables runs on: the formats under test, and a table of one configuration. A new
// format is added to Formats and passes, or it is not done.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "pt/fmt/amd_v1.hpp"
#include "pt/fmt/arm_lpae.hpp"
#include "pt/fmt/mock.hpp"
#include "pt/fmt/riscv.hpp"
#include "pt/fmt/vtd_second_stage.hpp"
#include "pt/fmt/x86.hpp"
#include "pt/page_table.hpp"
#include "tests/contract/pt/probe_format.hpp"

namespace iommufd::pt::test {

using Formats = ::testing::Types<AmdV1, VtdSecondStage, X86, RiscV, ArmLpae, Mock, Probe>;

struct FormatName {
  template <class F>
  static std::string GetName(int) {
    return std::string(F::kName);
  }
};

template <PageTableFormat F>
class Rig {
 public:
  explicit Rig(const TableConfig& config) : config(config) {
    arena = std::move(TableArena::create({})).value();
    table = std::move(PageTable<F>::create(*arena, config)).value();
  }
  ~Rig() {
    table.reset();
    EXPECT_EQ(arena->pages_in_use(), 0u) << "tables leaked";
  }

  // Maps, frees what was replaced; `mapped` is left in last_mapped.
  Result<void> map(u64 va, u64 oa, u64 length, Access access = Access::kReadWrite) {
    Gather gather(*arena);
    const Result<void> r = table->map(Iova{va}, PhysAddr{oa}, length, access, last_mapped, gather);
    gather.free();
    return r;
  }
  u64 unmap(u64 va, u64 length) {
    Gather gather(*arena);
    const u64 done = table->unmap(Iova{va}, length, gather);
    if (done != 0) {
      EXPECT_EQ(gather.range(), (IovaRange{va, va + done - 1}));
    }
    gather.free();
    return done;
  }
  std::optional<Translation> lookup(u64 va) const { return table->lookup(Iova{va}); }

  u64 count_tables() const {
    u64 n = 0;
    table->for_each_table([&](const TableView&) { ++n; });
    return n;
  }
  u64 count_leaf_items() const {
    u64 n = 0;
    table->for_each_table([&](const TableView& t) {
      for (const u64 item : t.items) n += F::kind(item, t.level) == EntryKind::kLeaf;
    });
    return n;
  }
  // Sizes of entries that fit into the table more than once, smallest first.
  std::vector<unsigned> sizes() const {
    std::vector<unsigned> out;
    for (unsigned s = 0; s < 63; ++s) {
      if ((table->pgsize_bitmap() >> s & 1) != 0 && s + 1 < config.va_bits && s + 1 < config.oa_bits) out.push_back(s);
    }
    return out;
  }

  TableConfig config;
  std::unique_ptr<TableArena> arena;
  std::unique_ptr<PageTable<F>> table;
  u64 last_mapped = 0;
};

// What a lookup `at` bytes into an entry of `size` bytes finds. The entry is in the highest table whose items are not larger.
template <PageTableFormat F>
Translation translation(u64 oa, Access access, u64 size, u64 at = 0) {
  const unsigned level = (static_cast<unsigned>(std::countr_zero(size)) - F::kGranuleLg2) / F::kIndexBits;
  return {PhysAddr{oa + at}, access, static_cast<u8>(F::kGranuleLg2 + level * F::kIndexBits), size - at};
}

// Runs `body` on a fresh table of each configuration of F.
template <PageTableFormat F, class Body>
void on_each_config(Body&& body) {
  for (const TableConfig& config : F::kTestConfigs) {
    SCOPED_TRACE(::testing::Message() << F::kName << ", " << config.name);
    Rig<F> rig(config);
    body(rig);
  }
}

inline Errno error_of(const Result<void>& r) { return r ? Errno{0} : r.error(); }

}  // namespace iommufd::pt::test

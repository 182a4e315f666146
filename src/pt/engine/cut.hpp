// SPDX-License-Identifier: BSD-3-Clause
// Breaking large entries, so that a hole can be made in one. What is translated does not change at any moment: an entry becomes
// two or more of the next smaller size, until one begins at the address. Inside a table its items are written anew one by one, each of
// which goes on to translate its own part; below a single item a table is filled first and then linked in its place. Devices may set
// dirty bits meanwhile, so every item is exchanged against what was read from it. A dirty item whose place a table takes makes all
// items of that table dirty.
#pragma once

#include "base/rollback.hpp"
#include "pt/engine/storage.hpp"
#include "pt/table.hpp"

namespace iommufd::pt {

template <PageTableFormat F>
class Cutter {
 public:
  Cutter(Storage<F>& storage, u64 sizes, Gather& gather) : storage_(storage), sizes_(sizes), gather_(gather) {}

  // No entry reaches across `va` afterwards. Pre: the root covers it, and it is a multiple of the smallest size.
  // Errors: kNoMem; what was cut until then stays cut.
  Result<void> run(const TopInfo& top, u64 va) {
    u64* items = storage_.items(top.root.raw());
    for (unsigned level = top.level;;) {
      const unsigned index = index_of<F>(va, level);
      const u64 item = load_item(items[index]);
      switch (F::kind(item, level)) {
        case EntryKind::kEmpty: return {};
        case EntryKind::kTable:
          items = storage_.below(item);
          --level;
          break;
        case EntryKind::kLeaf: {
          const u64 size = u64{1} << F::entry_lg2(item, level);
          if ((va & (size - 1)) == 0) return {};
          gather_.add_range(va & ~(size - 1), size);
          IOMMUFD_TRY(split(items, level, index));
        }
      }
    }
  }

 private:
  static u64 at_level(u64 sizes, unsigned level) { return sizes & F::possible_sizes(level); }
  // The largest of `sizes` below `size`, as a base-2 logarithm; 0: there is none.
  static unsigned next_below(u64 sizes, u64 size) {
    const u64 smaller = sizes & (size - 1);
    return smaller == 0 ? 0 : static_cast<unsigned>(std::bit_width(smaller)) - 1;
  }

  // Makes smaller entries of the one that has the item `index`.
  Result<void> split(u64* items, unsigned level, unsigned index) {
    const u64 item = load_item(items[index]);
    const unsigned size_lg2 = F::entry_lg2(item, level);
    const unsigned slots = 1u << (size_lg2 - F::item_lg2(level));
    const unsigned first = index & ~(slots - 1);
    if (const unsigned smaller = next_below(at_level(sizes_, level), u64{1} << size_lg2); smaller != 0) {
      rewrite({items + first, slots}, level, F::output(item, level), smaller);
      return {};
    }
    for (unsigned i = first; i < first + slots; ++i)
      IOMMUFD_TRY(push_down(items[i], level, F::output(item, level) + u64{i - first} * item_size<F>(level)));
    return {};
  }

  // The items of an entry that begins at `oa`, as entries of 2^size_lg2.
  static void rewrite(std::span<u64> slots, unsigned level, u64 oa, unsigned size_lg2) {
    const std::size_t per_entry = std::size_t{1} << (size_lg2 - F::item_lg2(level));
    for (std::size_t i = 0; i < slots.size(); ++i) {
      const std::size_t entry = i / per_entry;
      u64 seen = load_item(slots[i]);
      while (!swap_item(slots[i], seen,
                        F::make_leaf(oa + (entry << size_lg2), level, size_lg2, F::attributes(seen)) +
                            (i % per_entry) * F::slot_step(level))) {
      }
    }
  }

  // Puts a table in the place of a leaf item, which translates one item's worth from `oa` on.
  Result<void> push_down(u64& slot, unsigned level, u64 oa) {
    const PhysAddr page = IOMMUFD_TRY(storage_.arena().allocate());
    u64* const items = storage_.items(page.raw());
    Rollback drop{[&] {
      TablePageList pages;
      storage_.collect(items, level - 1, pages);
      storage_.arena().push(pages, page);
      storage_.arena().free(pages);
    }};
    u64 seen = load_item(slot);
    IOMMUFD_TRY(fill(items, level - 1, oa, F::attributes(seen)));
    const u64 table = F::make_table(page.raw(), level, storage_.features());
    while (!swap_item(slot, seen, table)) repaint(items, level - 1, F::attributes(seen));
    drop.commit();
    return {};
  }

  // Fills a table that nobody sees yet.
  Result<void> fill(u64* items, unsigned level, u64 oa, u64 attributes) {
    const u64 whole = item_size<F>(level) << F::kIndexBits;
    const unsigned size_lg2 = next_below(at_level(sizes_, level), whole);
    const unsigned leaf_lg2 = size_lg2 != 0 ? size_lg2 : F::item_lg2(level);
    const unsigned per_entry = 1u << (leaf_lg2 - F::item_lg2(level));
    for (unsigned i = 0; i < kTableItems<F>; ++i) {
      store_item(items[i], F::make_leaf(oa + (u64{i / per_entry} << leaf_lg2), level, leaf_lg2, attributes) +
                               (i % per_entry) * F::slot_step(level));
    }
    if (size_lg2 != 0) return {};
    // Nothing of this level may be used: the leaves are a way to the next one only.
    for (unsigned i = 0; i < kTableItems<F>; ++i)
      IOMMUFD_TRY(push_down(items[i], level, oa + u64{i} * item_size<F>(level)));
    return {};
  }

  // The leaves of such a table, once a device has changed the state of what they are to replace.
  void repaint(u64* items, unsigned level, u64 attributes) {
    for (unsigned i = 0; i < kTableItems<F>; ++i) {
      const u64 item = load_item(items[i]);
      if (F::kind(item, level) == EntryKind::kTable)
        repaint(storage_.below(item), level - 1, attributes);
      else
        store_item(items[i], (item & ~F::attributes(item)) | attributes);
    }
  }

  Storage<F>& storage_;
  const u64 sizes_;
  Gather& gather_;
};

}  // namespace iommufd::pt

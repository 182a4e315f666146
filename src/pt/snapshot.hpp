// SPDX-License-Identifier: BSD-3-Clause
// A copy of all tables of one page table, taken quickly and read at leisure: what it translates, as runs, and as the tree
// that the hardware walks. The reader believes no item: a copy that is damaged is read to its end, and says where.
#pragma once

#include <array>
#include <functional>
#include <unordered_map>
#include <vector>

#include "pt/table.hpp"

namespace iommufd::pt {

struct TablePage {
  PhysAddr address;
  unsigned level = 0;
  u64 iova = 0;  // first address that item 0 covers
  std::array<u64, kItemsPerPage> items{};
};

struct Snapshot {
  TableDescription table;
  TopInfo top;
  u64 pgsize_bitmap = 0;
  std::vector<TablePage> pages;  // parents first, in rising order of address space
};

// Pre: nobody maps or unmaps meanwhile. Devices may translate and set accessed and dirty bits.
Snapshot copy_table(const Table& table);

// Addresses that follow each other on both sides, alike in everything else.
struct MappedRun {
  u64 iova = 0;
  u64 pa = 0;
  u64 length = 0;
  unsigned size_lg2 = 0;          // of the entries behind it
  Access access = Access::kNone;  // what every level of the walk allows
  bool accessed = false, dirty = false;
  friend bool operator==(const MappedRun&, const MappedRun&) = default;
};

// Walks a snapshot in rising order of address space.
class SnapshotReader {
 public:
  struct Place {
    const TablePage* page = nullptr;
    unsigned index = 0;  // of the item
    u64 iova = 0;        // first address of the item
    unsigned depth = 0;  // tables above `page`
  };
  class Visitor {
   public:
    // The table that the item at `from` points to; from.page is null for the root.
    virtual void table(const TablePage& /*page*/, const Place& /*from*/) {}
    // Items of one table that follow each other.
    virtual void run(const Place& /*first*/, unsigned /*items*/, const MappedRun& /*run*/) {}
    // The item points to a table that cannot be read.
    virtual void damaged(const Place& /*at*/, u64 /*item*/, const char* /*why*/) {}

   protected:
    ~Visitor() = default;
  };

  explicit SnapshotReader(const Snapshot& snapshot);
  void read(Visitor& visitor);

 private:
  void read_table(std::size_t page, u64 iova, Access access, const Place& from);
  void descend(const Place& at, u64 address, Access access);
  void add(const Place& at, const MappedRun& item);
  void flush();
  [[nodiscard]] u64 extend(u64 iova) const;

  const Snapshot& snapshot_;
  std::unordered_map<u64, std::size_t> pages_;  // by physical address
  std::vector<bool> seen_;
  Visitor* visitor_ = nullptr;
  Place first_;         // of run_
  unsigned items_ = 0;  // of run_; 0: there is none
  MappedRun run_;
};

// Runs across tables, in rising order.
std::vector<MappedRun> runs_of(const Snapshot& snapshot);

}  // namespace iommufd::pt

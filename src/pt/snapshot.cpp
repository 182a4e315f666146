// SPDX-License-Identifier: BSD-3-Clause
#include "pt/snapshot.hpp"

#include <algorithm>
#include <utility>

#include "pt/engine/storage.hpp"

namespace iommufd::pt {
namespace {

// Whether `next` goes on where `run` ends.
bool continues(const MappedRun& run, const MappedRun& next) {
  MappedRun moved = run;
  moved.iova += run.length;
  moved.pa += run.length;
  moved.length = next.length;
  return moved == next;
}

struct Collector final : SnapshotReader::Visitor {
  void run(const SnapshotReader::Place& /*first*/, unsigned /*items*/, const MappedRun& run) override {
    if (!runs.empty() && continues(runs.back(), run)) {
      runs.back().length += run.length;
    } else {
      runs.push_back(run);
    }
  }
  std::vector<MappedRun> runs;
};

}  // namespace

Snapshot copy_table(const Table& table) {
  Snapshot copy;
  copy.table = table.describe();
  copy.top = table.top();
  copy.pgsize_bitmap = table.pgsize_bitmap();
  std::size_t count = 0;
  table.for_each_table([&](const TableView&) { ++count; });
  copy.pages.reserve(count);
  table.for_each_table([&](const TableView& view) {
    TablePage& page = copy.pages.emplace_back(TablePage{view.address, view.level, view.iova, {}});
    // Devices set accessed and dirty bits meanwhile.
    const std::size_t items = std::min(view.items.size(), page.items.size());
    for (std::size_t i = 0; i < items; ++i) page.items[i] = load_item(view.items[i]);
  });
  return copy;
}

SnapshotReader::SnapshotReader(const Snapshot& snapshot) : snapshot_(snapshot), seen_(snapshot.pages.size()) {
  for (std::size_t i = 0; i < snapshot.pages.size(); ++i) pages_.try_emplace(snapshot.pages[i].address.raw(), i);
}

void SnapshotReader::read(Visitor& visitor) {
  visitor_ = &visitor;
  seen_.assign(seen_.size(), false);
  const auto root = pages_.find(snapshot_.top.root.raw());
  if (root != pages_.end()) read_table(root->second, 0, Access::kReadWrite, {});
}

u64 SnapshotReader::extend(u64 iova) const {
  return snapshot_.table.extension == AddressExtension::kSign ? sign_extend(iova, snapshot_.table.va_bits) : iova;
}

void SnapshotReader::read_table(std::size_t index, u64 iova, Access access, const Place& from) {
  const TablePage& page = snapshot_.pages[index];
  const FormatDescription& format = *snapshot_.table.format;
  seen_[index] = true;
  visitor_->table(page, from);
  const u64 step = u64{1} << format.item_lg2(page.level);
  for (unsigned i = 0; i < kItemsPerPage; ++i) {
    const Place at{&page, i, extend(iova + i * step), from.page == nullptr ? 0 : from.depth + 1};
    const u64 item = page.items[i];
    const ItemDescription d = format.item(item, page.level);
    if (d.kind != EntryKind::kLeaf) flush();
    if (d.kind == EntryKind::kTable) descend(at, d.address, access & d.access);
    if (d.kind != EntryKind::kLeaf) continue;
    // Each item of a large entry translates by itself.
    const u64 size = u64{1} << std::min(d.size_lg2, 63U);
    add(at, {at.iova, d.address + (at.iova & (size - 1)), step, d.size_lg2, access & d.access, d.accessed, d.dirty});
  }
  flush();
}

void SnapshotReader::descend(const Place& at, u64 address, Access access) {
  const auto below = pages_.find(address);
  const u64 item = at.page->items[at.index];
  if (at.page->level == 0) return visitor_->damaged(at, item, "points to a table below level 0");
  if (below == pages_.end()) return visitor_->damaged(at, item, "points to no table");
  if (snapshot_.pages[below->second].level != at.page->level - 1)
    return visitor_->damaged(at, item, "points to a table of another level");
  if (seen_[below->second]) return visitor_->damaged(at, item, "points to a table that another item points to");
  read_table(below->second, at.iova, access, at);
}

void SnapshotReader::add(const Place& at, const MappedRun& item) {
  if (items_ != 0 && continues(run_, item)) {
    run_.length += item.length;
    ++items_;
    return;
  }
  flush();
  first_ = at;
  run_ = item;
  items_ = 1;
}

void SnapshotReader::flush() {
  if (items_ != 0) visitor_->run(first_, std::exchange(items_, 0), run_);
}

std::vector<MappedRun> runs_of(const Snapshot& snapshot) {
  Collector collector;
  SnapshotReader(snapshot).read(collector);
  return std::move(collector.runs);
}

}  // namespace iommufd::pt

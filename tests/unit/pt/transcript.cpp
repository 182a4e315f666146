// SPDX-License-Identifier: BSD-3-Clause
#include "tests/unit/pt/transcript.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <map>
#include <sstream>
#include <vector>

#include "base/fault_point.hpp"

namespace iommufd::pt::golden {
namespace {

int number(const Result<void>& r) { return r ? 0 : -static_cast<int>(r.error()); }

// "[i]=v", "[a..b]=v" for equal items, "[a..b]=v +s" for items that grow by s; zero items are left out.
std::string items_text(std::span<const u64> items) {
  std::string out;
  for (std::size_t i = 0; i < items.size();) {
    if (items[i] == 0) {
      ++i;
      continue;
    }
    std::size_t end = i + 1;
    const u64 step = end < items.size() && items[end] != 0 ? items[end] - items[i] : 0;
    while (end < items.size() && items[end] != 0 && items[end] - items[end - 1] == step) ++end;
    // Neighbours that merely differ are not a sequence.
    const bool run = end - i > 1 && (step == 0 || (end - i > 2 && std::has_single_bit(step)));
    if (!run) end = i + 1;
    out += run ? fmt::format(" [{}..{}]={:016x}", i, end - 1, items[i]) : fmt::format(" [{}]={:016x}", i, items[i]);
    if (run && step != 0) out += fmt::format(" +{:x}", step);
    i = end;
  }
  return out.empty() ? " empty" : out;
}

class Player : public TopListener, public DirtySink {
 public:
  explicit Player(const Subject& subject) : subject_(subject) {}
  ~Player() = default;

  std::string play(std::string_view text) {
    if (Result<std::unique_ptr<TableArena>> arena = TableArena::create({.reuse = TableArena::Reuse::kFreshFirst})) {
      arena_ = std::move(*arena);
    }
    Result<std::unique_ptr<Table>> table = subject_.make(*arena_, *this);
    const int made = table ? 0 : -static_cast<int>(table.error());
    if (table) table_ = std::move(*table);
    bool in_dump = false;
    std::istringstream lines{std::string(text)};
    for (std::string line; std::getline(lines, line);) {
      const bool dump = line.starts_with("  T@");
      if (dump && !in_dump) dump_tables();
      in_dump = dump;
      if (line.starts_with(" r=")) say(" r={}", made);
      if (!line.starts_with(" ")) command(line);
    }
    table_.reset();
    EXPECT_EQ(arena_->pages_in_use(), 0u);
    return out_;
  }

  void change_top(const TopInfo& top) override { say("  change_top {:x} level {}", top.root.raw(), top.level); }
  void dirty(Iova iova, u64 length) override { say("  dirty iova={:x} len={:x}", iova.raw(), length); }

 private:
  template <class... Args>
  void say(fmt::format_string<Args...> format, Args&&... args) {
    out_ += fmt::format(format, std::forward<Args>(args)...) + "\n";
  }

  void command(const std::string& line) {
    unsigned long long a = 0, b = 0, c = 0;
    char prot[8] = "";
    unsigned flags = 0;
    if (std::sscanf(line.c_str(), "map iova=%llx pa=%llx len=%llx prot=%7[RWNX]", &a, &b, &c, prot) >= 3) {
      map(a, b, c, prot);
    } else if (std::sscanf(line.c_str(), "unmap iova=%llx len=%llx", &a, &b) == 2) {
      Gather gather(*arena_);
      const u64 done = table_->unmap(Iova{a}, b, gather);
      say("unmap iova={:x} len={:x} -> {:x} (gather {:x}..{:x}, {} tables freed)", a, b, done, gather.range().start,
          gather.range().last, gather.tables());
      gather.free();
    } else if (std::sscanf(line.c_str(), "iova_to_phys %llx", &a) == 1) {
      say("iova_to_phys {:x} -> {:x}", a, table_->iova_to_phys(Iova{a}).value_or(PhysAddr{}).raw());
    } else if (std::sscanf(line.c_str(), "set_dirty %llx", &a) == 1) {
      say("set_dirty {:x} -> {}", a, number(table_->set_dirty(Iova{a})));
    } else if (std::sscanf(line.c_str(), "read_and_clear iova=%llx len=%llx flags=%u", &a, &b, &flags) == 3) {
      Gather gather(*arena_);
      const DirtyMode mode = flags == 0 ? DirtyMode::kReadAndClear : DirtyMode::kReadOnly;
      const int r = number(table_->read_and_clear_dirty(Iova{a}, b, mode, *this, gather));
      say("read_and_clear iova={:x} len={:x} flags={} -> {} gather {:x}..{:x}", a, b, flags, r, gather.range().start,
          gather.range().last);
    } else if (std::sscanf(line.c_str(), "fail %llx", &a) == 1) {
      fault::arm(a);
      say("fail {:x}", a);
    } else if (line.starts_with("pgsize_bitmap=")) {
      say("pgsize_bitmap={:x} aperture={:x}..{:x}", table_->pgsize_bitmap(), table_->aperture().start,
          table_->aperture().last);
    } else {
      const TopInfo top = table_->top();
      const unsigned depth = subject_.hardware_depth(top.level);
      if (line.starts_with("root=")) say("root={:x} mode={}", top.root.raw(), depth);
      if (line.starts_with("ssptptr=")) say("ssptptr={:x} aw={}", top.root.raw(), depth);
      if (line.starts_with("aw=")) say("aw={}", depth);
      if (line.starts_with("gcr3=")) say("gcr3={:x} levels={}", top.root.raw(), depth);
      if (line.starts_with("ppn=")) say("ppn={:x} mode={}", top.root.raw() >> kPageShift, depth);
      if (line.starts_with("mode=")) say("mode={}", depth);
    }
  }

  void map(u64 iova, u64 pa, u64 length, std::string_view prot) {
    Access access = Access::kNone;
    if (prot.find('R') != prot.npos) access = access | Access::kRead;
    if (prot.find('W') != prot.npos) access = access | Access::kWrite;
    if (prot.find("NX") != prot.npos) access = access | Access::kNoExecute;
    u64 mapped = 0;
    Gather gather(*arena_);
    const int r = number(table_->map(Iova{iova}, PhysAddr{pa}, length, access, mapped, gather));
    if (!gather.empty()) {
      say("  (sync {:x}..{:x}, frees {} tables)", gather.range().start, gather.range().last, gather.tables());
    }
    gather.free();
    say("map iova={:x} pa={:x} len={:x} prot={} -> {} mapped={:x}", iova, pa, length, prot, r, mapped);
  }

  void dump_tables() {
    std::map<u64, std::string> tables;
    table_->for_each_table([&](const TableView& t) { tables[t.address.raw()] = items_text(t.items); });
    for (const auto& [address, text] : tables) say("  T@{:x}:{}", address, text);
  }

  const Subject& subject_;
  std::unique_ptr<TableArena> arena_;
  std::unique_ptr<Table> table_;
  std::string out_;
};

}  // namespace

std::string replay(const Subject& subject, std::string_view text) {
  if (text.starts_with("\n")) text.remove_prefix(1);  // a raw string begins on the line after R"(
  return Player(subject).play(text);
}

}  // namespace iommufd::pt::golden

// SPDX-License-Identifier: BSD-3-Clause
#include "dump/recorder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <new>
#include <utility>

#include "base/rollback.hpp"

namespace iommufd::dump {
namespace {

// A call that holds a lock for so long stands still itself, on memory of its program that does not come.
constexpr auto kPatience = std::chrono::seconds(2);

core::Deadline soon() { return std::chrono::steady_clock::now() + kPatience; }

}  // namespace

void Recorder::watch(core::Context& context) {
  const MutexLock lock(mu_);
  Entry& entry = contexts_[&context];
  entry.record.number = ++opened_;
  context.set_watcher(this);
}

Result<std::vector<ContextRecord>> Recorder::look(core::Deadline deadline) {
  std::vector<std::pair<core::Context*, u32>> present;
  {
    const MutexLock lock(mu_);
    present.reserve(contexts_.size());
    for (auto& [context, entry] : contexts_) {
      ++entry.readers;
      present.emplace_back(context, entry.record.number);
    }
  }
  // The one at the back is let go as soon as it was looked at.
  const auto let_go = [&]() IOMMUFD_EXCLUDES(mu_) {
    const MutexLock lock(mu_);
    if (--contexts_.find(present.back().first)->second.readers == 0) unread_.notify_all();
    present.pop_back();
  };
  Rollback rest{[&] {
    while (!present.empty()) let_go();
  }};
  std::vector<ContextRecord> records;
  records.reserve(present.size());
  while (!present.empty()) {
    ContextRecord& record = records.emplace_back();
    record.number = present.back().second;
    record.merge(IOMMUFD_TRY(present.back().first->snapshot(deadline)));
    let_go();
  }
  rest.commit();
  std::ranges::sort(records, {}, &ContextRecord::number);
  return records;
}

void Recorder::before_detach(core::Context& context) { remember(context, {}); }

void Recorder::before_destroy(core::Context& context, ObjectId hwpt) { remember(context, hwpt); }

void Recorder::before_end(core::Context& context) {
  remember(context, {});
  ContextRecord record;
  {
    const MutexLock lock(mu_);
    const auto it = contexts_.find(&context);
    while (it->second.readers != 0) unread_.wait(mu_);
    record = std::move(it->second.record);
    contexts_.erase(it);
  }
  write(record);
}

// Out of memory, or a call that does not end: what was known before stays.
void Recorder::remember(core::Context& context, std::optional<ObjectId> ending) {
  if (!directory_) return;
  u64 number = 0;
  {
    const MutexLock lock(mu_);
    ++contexts_.find(&context)->second.readers;
    number = ++snapshots_;
  }
  Result<core::ContextSnapshot> snapshot = Err(Errno::kNoMem);
  try {
    snapshot = context.snapshot(soon());
  } catch (const std::bad_alloc&) {
    snapshot = Err(Errno::kNoMem);
  }
  if (!snapshot) complain(snapshot.error());
  const MutexLock lock(mu_);
  Entry& entry = contexts_.find(&context)->second;
  if (--entry.readers == 0) unread_.notify_all();
  if (!snapshot || entry.newest > number) return;
  entry.newest = number;
  try {
    entry.record.merge(*std::move(snapshot));
  } catch (const std::bad_alloc&) {
    return;
  }
  if (!ending) return;
  const auto hwpt = entry.record.hwpts.find(std::to_underlying(*ending));
  // Whoever has devices is not destroyed: EBUSY.
  if (hwpt != entry.record.hwpts.end()) hwpt->second.ended = true;
}

void Recorder::write(const ContextRecord& record) {
  if (!directory_ || record.hwpts.empty()) return;
  try {
    for (const OutputFile& file : files_of(record)) {
      if (const Result<void> done = directory_->write(file); !done) return complain(done.error());
    }
    std::string entry = index_entry(record);
    const MutexLock lock(mu_);
    index_.push_back(std::move(entry));
  } catch (const std::bad_alloc&) {
    complain(Errno::kNoMem);
  }
}

void Recorder::write_index() {
  if (!directory_) return;
  std::vector<std::string> entries;
  {
    const MutexLock lock(mu_);
    entries = index_;
  }
  if (const Result<void> done = directory_->write(index_file(entries)); !done) complain(done.error());
}

void Recorder::complain(Errno error) {
  {
    const MutexLock lock(mu_);
    if (std::exchange(complained_, true)) return;
  }
  fmt::print(stderr, "iommufd-user: --dump-tables: {}: not all tables are written: {}\n", directory_->path(),
             errno_name(error));
}

}  // namespace iommufd::dump

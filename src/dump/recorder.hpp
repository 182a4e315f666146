// SPDX-License-Identifier: BSD-3-Clause
// Knows the contexts of a machine. `dump` asks it what there is now. With a directory (`run --dump-tables`) it also takes a
// snapshot before anything ends, and writes each context when it ends: every HWPT as it was last.
//
// What the kernel closes first when a program ends is not said: a device that goes before /dev/iommu takes its automatic
// HWPT along. So the end of a HWPT counts, not that of the file.
//
// Lock: mu_ (kLeaf). Whoever looks at a context without it counts in Entry::readers; before_end() waits for that.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/sync.hpp"
#include "core/context.hpp"
#include "dump/directory.hpp"
#include "dump/record.hpp"

namespace iommufd::dump {

class Recorder final : public core::ContextWatcher {
 public:
  explicit Recorder(std::optional<Directory> directory) : directory_(std::move(directory)) {}

  // Pre: nobody else has the context yet.
  void watch(core::Context& context) IOMMUFD_EXCLUDES(mu_);

  // All contexts as they are. Errors: kBusy (a call of the program held a lock until the deadline).
  Result<std::vector<ContextRecord>> look(core::Deadline deadline) IOMMUFD_EXCLUDES(mu_);

  // The directory gets its index of what was written until now.
  void write_index() IOMMUFD_EXCLUDES(mu_);

  void before_detach(core::Context& context) override;
  void before_destroy(core::Context& context, ObjectId hwpt) override;
  void before_end(core::Context& context) override;

 private:
  struct Entry {
    ContextRecord record;
    u32 readers = 0;
    u64 newest = 0;  // snapshot in `record`
  };
  void remember(core::Context& context, std::optional<ObjectId> ending) IOMMUFD_EXCLUDES(mu_);
  void write(const ContextRecord& record) IOMMUFD_EXCLUDES(mu_);
  void complain(Errno error) IOMMUFD_EXCLUDES(mu_);

  const std::optional<Directory> directory_;
  Mutex mu_{LockRank::kLeaf};
  CondVar unread_;  // a context has no readers any more
  u32 opened_ IOMMUFD_GUARDED_BY(mu_) = 0;
  u64 snapshots_ IOMMUFD_GUARDED_BY(mu_) = 0;
  bool complained_ IOMMUFD_GUARDED_BY(mu_) = false;
  // A map whose iterators outlast inserts: before_end() waits with one.
  std::map<core::Context*, Entry> contexts_ IOMMUFD_GUARDED_BY(mu_);
  std::vector<std::string> index_ IOMMUFD_GUARDED_BY(mu_);  // entries of index.json
};

}  // namespace iommufd::dump

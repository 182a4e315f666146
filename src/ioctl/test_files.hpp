// SPDX-License-Identifier: BSD-3-Clause
// The descriptor that the test ABI gives out for an access. It can be closed and named in commands, and nothing else.
// Thread-safe.
#pragma once

#include "ioctl/file.hpp"
#include "selftest/access_items.hpp"

namespace iommufd::ioctl {

class AccessFile final : public File {
 public:
  explicit AccessFile(Ref<selftest::AccessItems> items) : items_(std::move(items)) {}
  Result<s64> ioctl(Call&, u32, u64) override { return Err(Errno::kNoTty); }
  Result<u64> read(Call&, u64, UserVa, u64) override { return Err(Errno::kInval); }
  Result<u64> write(Call&, u64, UserVa, u64) override { return Err(Errno::kInval); }
  Result<void> mmap(Call&, const MmapRequest&) override { return Err(Errno::kNoDev); }
  AccessFile* as_access() override { return this; }
  void release() override { items_->close(); }
  [[nodiscard]] selftest::AccessItems& items() const { return *items_; }

 private:
  const Ref<selftest::AccessItems> items_;
};

}  // namespace iommufd::ioctl

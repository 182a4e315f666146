// SPDX-License-Identifier: BSD-3-Clause
// The descriptors that the test ABI gives out: an access, a stand-in for a dma-buf. They can be closed and named in
// commands, and nothing else. Thread-safe.
#pragma once

#include "ioctl/file.hpp"
#include "selftest/access_items.hpp"
#include "selftest/buffer.hpp"

namespace iommufd::ioctl {

// What both refuse: read, write, ioctl, mmap.
class TestFile : public File {
 public:
  Result<s64> ioctl(Call&, u32, u64) override { return Err(Errno::kNoTty); }
  Result<u64> read(Call&, u64, UserVa, u64) override { return Err(Errno::kInval); }
  Result<u64> write(Call&, u64, UserVa, u64) override { return Err(Errno::kInval); }
  Result<void> mmap(Call&, const MmapRequest&) override { return Err(Errno::kNoDev); }
};

class AccessFile final : public TestFile {
 public:
  explicit AccessFile(Ref<selftest::AccessItems> items) : items_(std::move(items)) {}
  AccessFile* as_access() override { return this; }
  void release() override { items_->close(); }
  [[nodiscard]] selftest::AccessItems& items() const { return *items_; }

 private:
  const Ref<selftest::AccessItems> items_;
};

class BufferFile final : public TestFile {
 public:
  explicit BufferFile(Ref<selftest::Buffer> buffer) : buffer_(std::move(buffer)) {}
  BufferFile* as_buffer() override { return this; }
  void release() override {}
  [[nodiscard]] const Ref<selftest::Buffer>& buffer() const { return buffer_; }

 private:
  const Ref<selftest::Buffer> buffer_;
};

}  // namespace iommufd::ioctl

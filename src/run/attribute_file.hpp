// SPDX-License-Identifier: BSD-3-Clause
// An open sysfs attribute, or another small file. Text is made at the moment of a read from the beginning, and stays the same
// until the next such read; bytes are made at every read. Thread-safe.
//
// The memfd behind the descriptor holds the content as it was at the open, for descriptors that the client moved below
// kFirstFd, where its reads are not notified.
#pragma once

#include <functional>
#include <string>

#include "base/sync.hpp"
#include "ioctl/file.hpp"
#include "run/path_tree.hpp"

namespace iommufd::run {

class AttributeFile final : public ioctl::File {
 public:
  // `content` is what the file holds now, `read` makes it anew, `write` takes a write; `closed` (may be empty) is told of the end.
  AttributeFile(Content kind, ReadContent read, WriteContent write, std::string content,
                std::function<void()> closed = {})
      : kind_(kind),
        read_(std::move(read)),
        write_(std::move(write)),
        closed_(std::move(closed)),
        content_(std::move(content)) {}

  Result<s64> ioctl(ioctl::Call& call, u32 cmd, u64 arg) override;
  Result<u64> read(ioctl::Call& call, u64 offset, UserVa buf, u64 count) override IOMMUFD_EXCLUDES(mu_);
  Result<u64> write(ioctl::Call& call, u64 offset, UserVa buf, u64 count) override;
  Result<void> mmap(ioctl::Call& call, const ioctl::MmapRequest& request) override;
  Result<u64> seek(const ioctl::SeekRequest& request) override { return ioctl::seek_anywhere(request); }
  void release() override {
    if (closed_) closed_();
  }

 private:
  const Content kind_;
  const ReadContent read_;
  const WriteContent write_;
  const std::function<void()> closed_;
  Mutex mu_{LockRank::kLeaf};
  std::string content_ IOMMUFD_GUARDED_BY(mu_);
};

// Who reads, by the policy of --caps.
Reader reader_of(ioctl::Call& call);

}  // namespace iommufd::run

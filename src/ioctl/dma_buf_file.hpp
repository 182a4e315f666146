// SPDX-License-Identifier: BSD-3-Clause
// A descriptor of a dma-buf, memory of a device that MAP_FILE takes (spec iommufd-core 3.6): what vfio-pci gives out, and its
// stand-in of the test ABI. It can be closed, asked for its size, and named in commands, and nothing else: vfio-pci's have
// no mmap, and no dma-buf has read or write. Thread-safe.
#pragma once

#include <unistd.h>

#include "ioctl/file.hpp"
#include "mem/revocable_space.hpp"

namespace iommufd::ioctl {

class DmaBufFile final : public File {
 public:
  enum class Exporter : u8 { kVfio, kTest };
  // How many ranges of physical addresses it has; only one can be mapped.
  enum class Ranges : u8 { kOne, kSeveral };

  DmaBufFile(Exporter exporter, Ref<mem::RevocableSpace> space, u64 size, Ranges ranges)
      : exporter_(exporter), space_(std::move(space)), size_(size), ranges_(ranges) {}

  Result<s64> ioctl(Call&, u32, u64) override { return Err(Errno::kNoTty); }
  Result<u64> read(Call&, u64, UserVa, u64) override { return Err(Errno::kInval); }
  Result<u64> write(Call&, u64, UserVa, u64) override { return Err(Errno::kInval); }
  Result<void> mmap(Call&, const MmapRequest&) override { return Err(Errno::kInval); }
  // To its start and to its end: a way to its size.
  Result<u64> seek(const SeekRequest& request) override {
    if (request.offset != 0 || (request.whence != SEEK_SET && request.whence != SEEK_END)) return Err(Errno::kInval);
    return request.whence == SEEK_SET ? 0 : size_;
  }
  [[nodiscard]] u64 size() const override { return size_; }
  void release() override {}
  DmaBufFile* as_dma_buf() override { return this; }

  [[nodiscard]] Exporter exporter() const { return exporter_; }
  [[nodiscard]] const Ref<mem::RevocableSpace>& space() const { return space_; }
  [[nodiscard]] Ranges ranges() const { return ranges_; }

 private:
  const Exporter exporter_;
  const Ref<mem::RevocableSpace> space_;
  const u64 size_;
  const Ranges ranges_;
};

// Gives the caller a descriptor of it, by the open flags that he asked for.
Result<int> install_dma_buf(Call& call, Ref<DmaBufFile> file, u32 open_flags);

}  // namespace iommufd::ioctl

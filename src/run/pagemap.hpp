// SPDX-License-Identifier: BSD-3-Clause
// An open of /proc/self/pagemap: the machine's file, with the simulated frame of each page in place of the kernel's. Programs that
// use a device through a noiommu group read their physical addresses there (spec noiommu 14, clients 1.5); so a page
// that was looked up can be reached by DMA from then on, for good. Without CAP_SYS_ADMIN the frame numbers read as 0, as
// in the kernel.
#pragma once

#include "ioctl/file.hpp"
#include "run/service.hpp"

namespace iommufd::run {

class PagemapFile final : public ioctl::File {
 public:
  // `real`: the machine's file of the process that opens it.
  PagemapFile(Service& service, Fd real) : service_(service), real_(std::move(real)) {}

  Result<s64> ioctl(ioctl::Call& call, u32 cmd, u64 arg) override;
  // `offset` and `count` are multiples of 8 (kInval): entry n is of page n.
  Result<u64> read(ioctl::Call& call, u64 offset, UserVa buf, u64 count) override;
  Result<u64> write(ioctl::Call& call, u64 offset, UserVa buf, u64 count) override;
  Result<void> mmap(ioctl::Call& call, const ioctl::MmapRequest& request) override;
  Result<u64> seek(const ioctl::SeekRequest& request) override { return ioctl::seek_anywhere(request); }
  void release() override {}

 private:
  Service& service_;
  const Fd real_;
};

}  // namespace iommufd::run

// SPDX-License-Identifier: BSD-3-Clause
// The memory that a carrier gives an open of a VFIO device: a memfd as large as the regions.
#pragma once

#include "base/sys.hpp"
#include "vfio/file_memory.hpp"

namespace iommufd::test {

class FileMemory final : public vfio::FileMemory {
 public:
  Result<sys::Mapping> map(u64 offset, u64 size) override {
    if (fail) return Err(Errno::kNoMem);
    return sys::Mapping::map(fd_.get(), offset, size, Access::kReadWrite);
  }
  bool fail = false;

 private:
  Fd fd_ = *sys::make_sealed_memfd("test", vfio::region_offset(1));
};

}  // namespace iommufd::test

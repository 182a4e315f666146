// SPDX-License-Identifier: BSD-3-Clause
// The stand-in for a dma-buf (spec selftest-abi 3.19, 8): physically contiguous memory of up to 512 pages that MAP_FILE
// takes, and that can be taken back. Thread-safe.
#pragma once

#include "base/sys.hpp"
#include "mem/revocable_space.hpp"

namespace iommufd::selftest {

class Buffer final : public mem::RevocableSpace {
 public:
  static constexpr u64 kMaxPages = 512;

  // `length` is rounded up to pages. Errors: kInval (0, or too long), kNoMem.
  static Result<Ref<Buffer>> create(u64 length);

  [[nodiscard]] u64 size() const { return memory_.bytes().size(); }
  Result<std::size_t> read_some(UserVa from, std::span<std::byte> buf) override;
  Result<std::size_t> write_some(UserVa to, std::span<const std::byte> buf) override;
  Result<void> populate(UserVa page, u64 count, Access access, std::vector<mem::PageRun>& out) override;
  std::byte* direct(UserVa va) override { return memory_.bytes().data() + va.raw(); }

 private:
  explicit Buffer(sys::Mapping memory) : memory_(std::move(memory)) {}
  const sys::Mapping memory_;
};

}  // namespace iommufd::selftest

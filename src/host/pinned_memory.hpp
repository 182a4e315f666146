// SPDX-License-Identifier: BSD-3-Clause
// Memory of our own that a device of this machine may write to: pages that stay where they are. io_uring's registered buffers are
// long-term pins, which mlock is not: a locked page may still be moved.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "base/sys.hpp"
#include "base/types.hpp"

namespace iommufd::host {

class PinnedMemory {
 public:
  // `pages` pages of zeros, each with a frame below `end`. Errors: kNoMem (no such frame was found, or the limit of locked memory),
  // kPerm (frames are hidden), kNoSys (no io_uring).
  static Result<std::unique_ptr<PinnedMemory>> create(u32 pages, u64 end);
  ~PinnedMemory();
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;

  [[nodiscard]] std::span<std::byte> page(u32 i) const { return pages_[i].bytes; }
  [[nodiscard]] PhysAddr address(u32 i) const { return pages_[i].address; }
  // Who has a copy of this descriptor keeps the pages pinned, however we end.
  [[nodiscard]] int pin() const { return ring_.get(); }

 private:
  struct Page {
    std::span<std::byte> bytes;
    PhysAddr address;
  };
  PinnedMemory(sys::Mapping memory, std::vector<Page> pages, Fd ring)
      : memory_(std::move(memory)), pages_(std::move(pages)), ring_(std::move(ring)) {}
  const sys::Mapping memory_;
  const std::vector<Page> pages_;
  const Fd ring_;
};

}  // namespace iommufd::host

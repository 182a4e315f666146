// SPDX-License-Identifier: BSD-3-Clause
// Shared by the parts of Ioas. Teardown is what an unmap takes out of page tables and pins: given back at the end of its
// life. The devices behind IOMMUs are done with it (Domain::unmap); those without one, and walks of tables, are waited for.
#pragma once

#include <vector>

#include "core/ioas.hpp"

namespace iommufd::core {

// Pages that the bytes [offset, offset + length) touch, counted from the page that holds byte 0.
struct PageSpan {
  u64 first;
  u64 count;
};
inline PageSpan pages_of(u64 offset, u64 length) {
  const u64 first = offset >> kPageShift;
  return {first, ((offset + length - 1) >> kPageShift) - first + 1};
}

struct Ioas::Teardown {
  explicit Teardown(iommu::Platform& p) : platform(p), gather(p.tables()), frames(p.phys()) {}
  Teardown(const Teardown&) = delete;
  Teardown& operator=(const Teardown&) = delete;
  ~Teardown() {
    if (!frames.empty()) {
      frames.give_back();  // waits
    } else if (gather.tables() != 0) {
      platform.phys().barrier().wait();
    }
    gather.free();
  }

  iommu::Platform& platform;
  pt::Gather gather;
  mem::FrameList frames;  // no longer used by their pages
};

}  // namespace iommufd::core

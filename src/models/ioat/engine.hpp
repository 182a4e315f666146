// SPDX-License-Identifier: BSD-3-Clause
// What a channel does with memory: fetches descriptors, copies, fills, writes completions. No registers, no state but a buffer.
// Not thread-safe; no lock is held by the caller.
#pragma once

#include <cstddef>
#include <functional>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "iommu/dma_port.hpp"
#include "models/ioat/registers.hpp"

namespace iommufd::models::ioat {

// A transfer from or to memory that cannot be reached. kIgnore: the descriptor counts as done, its data is dropped (spec ioat 7: what
// a polled model has to do by default); kHalt: as hardware does.
enum class OnFault : u8 { kIgnore, kHalt };

class Engine {
 public:
  Engine(iommu::DmaPort& dma, unsigned transfer_cap_lg2, OnFault on_fault)
      : dma_(dma), most_(u64{1} << transfer_cap_lg2), on_fault_(on_fault) {}

  // CHANERR bits; 0: it went well.
  u32 fetch(u64 address, Descriptor& descriptor);
  // The address behind the descriptor at `address`, as it is now.
  u32 follow(u64 address, u64& next);
  u32 run(const Descriptor& descriptor);
  // One store of 8 bytes.
  u32 write_back(u64 address, u64 value);

 private:
  static constexpr std::size_t kChunk = 128 << 10;  // what is on its way stays in a cache
  u32 copy(const Descriptor& descriptor);
  u32 fill(const Descriptor& descriptor);
  [[nodiscard]] u32 faulted(u32 bit) const { return on_fault_ == OnFault::kHalt ? bit : 0; }

  iommu::DmaPort& dma_;
  const u64 most_;
  const OnFault on_fault_;
  std::vector<std::byte> buffer_ = std::vector<std::byte>(kChunk);
};

}  // namespace iommufd::models::ioat

// SPDX-License-Identifier: BSD-3-Clause
// The registers of edu as values, and as memory that a client has mapped (spec edu 3). Memory cannot tell a store from
// its absence, so what is new is found by comparing with what was published last, or by leaving 0 behind in registers
// whose 0 means nothing (0x60, 0x64).
//
// All accesses are atomic: the client stores at any time, from another process. Not thread-safe on our side: Edu locks.
#pragma once

#include <atomic>
#include <cstddef>
#include <span>

#include "base/types.hpp"
#include "models/edu_registers.hpp"

namespace iommufd::models {

struct EduRegisters {
  u32 liveness = 0;
  u32 factorial = 0;
  u32 status = 0;
  u32 irq_status = 0;
  u64 dma_source = 0;
  u64 dma_dest = 0;
  u64 dma_count = 0;
  u64 dma_command = 0;
};

class EduPage {
 public:
  // All other bytes of the first page read as ones. `memory` has at least a page.
  void attach(std::span<std::byte> memory);
  void detach() { memory_ = {}; }
  [[nodiscard]] bool attached() const { return !memory_.empty(); }

  // Pre of all below: attached().
  [[nodiscard]] u32 load32(u64 offset) const { return word<u32>(offset).load(std::memory_order_acquire); }
  [[nodiscard]] u64 load64(u64 offset) const { return word<u64>(offset).load(std::memory_order_acquire); }
  // Takes what the client stored and leaves 0.
  u32 take32(u64 offset) { return word<u32>(offset).exchange(0, std::memory_order_acq_rel); }
  // Replaces `seen` by `value`, unless the client has stored again meanwhile: then the next look sees that.
  void replace32(u64 offset, u32 seen, u32 value) {
    word<u32>(offset).compare_exchange_strong(seen, value, std::memory_order_acq_rel);
  }
  void replace64(u64 offset, u64 seen, u64 value) {
    word<u64>(offset).compare_exchange_strong(seen, value, std::memory_order_acq_rel);
  }
  void store32(u64 offset, u32 value) { word<u32>(offset).store(value, std::memory_order_release); }
  void store64(u64 offset, u64 value) { word<u64>(offset).store(value, std::memory_order_release); }

  void publish(const EduRegisters& regs);

 private:
  template <class T>
  [[nodiscard]] std::atomic_ref<T> word(u64 offset) const {
    return std::atomic_ref<T>(*reinterpret_cast<T*>(memory_.data() + offset));
  }
  std::span<std::byte> memory_;
};

}  // namespace iommufd::models

// SPDX-License-Identifier: BSD-3-Clause
// BAR 0 as memory that the client maps (spec nvme 2 and 8). Registers show what the controller last published; a doorbell
// holds kNotRung until the client stores into it, so that every store is seen once, the value shown before included. INTMC,
// INTMS and NSSR act by what is stored; INTMC and NSSR therefore hold 0.
#pragma once

#include <atomic>
#include <optional>
#include <span>

#include "models/nvme/registers.hpp"

namespace iommufd::models::nvme {

class BarPage {
 public:
  // `memory` is the whole BAR.
  void attach(std::span<std::byte> memory) { memory_ = memory; }
  void detach() { memory_ = {}; }
  [[nodiscard]] bool attached() const { return !memory_.empty(); }

  // Pre of all below: attached().
  [[nodiscard]] u32 load32(u64 offset) const { return word<u32>(offset).load(std::memory_order_acquire); }
  [[nodiscard]] u64 load64(u64 offset) const { return word<u64>(offset).load(std::memory_order_acquire); }
  void store32(u64 offset, u32 value) { word<u32>(offset).store(value, std::memory_order_release); }
  // Takes what the client stored and leaves 0.
  u32 take32(u64 offset) { return load32(offset) == 0 ? 0 : word<u32>(offset).exchange(0, std::memory_order_acq_rel); }
  // Replaces `seen` by `value`, unless the client has stored again meanwhile: then the next look sees that.
  void replace32(u64 offset, u32 seen, u32 value) {
    word<u32>(offset).compare_exchange_strong(seen, value, std::memory_order_acq_rel);
  }
  // The value that was rung, once. `pair` is the number of a queue; both doorbells of it are looked at with one load.
  [[nodiscard]] bool pair_rung(u32 pair) const { return load64(kDoorbells + u64{pair} * 8) != ~u64{0}; }
  std::optional<u32> take_doorbell(u32 number) {
    const auto bell = word<u32>(doorbell_offset(number));
    if (bell.load(std::memory_order_acquire) == kNotRung) return std::nullopt;
    return bell.exchange(kNotRung, std::memory_order_acq_rel);
  }
  void silence_doorbells();
  // All registers anew, the constant ones too.
  void publish(const Registers& regs);
  // Puts right what the client may not change.
  void repair_constants();

 private:
  static constexpr u32 kNotRung = 0xffff'ffff;
  template <class T>
  [[nodiscard]] std::atomic_ref<T> word(u64 offset) const {
    return std::atomic_ref<T>(*reinterpret_cast<T*>(memory_.data() + offset));
  }
  std::span<std::byte> memory_;
};

}  // namespace iommufd::models::nvme

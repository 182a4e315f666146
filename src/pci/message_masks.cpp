// SPDX-License-Identifier: BSD-3-Clause
#include "pci/message_masks.hpp"

#include <algorithm>

namespace iommufd::pci {

MessageMasks::MessageMasks(u32 vectors, Masked state) : states_(vectors) {
  for (std::atomic<u8>& s : states_) s.store(state == Masked::kYes ? kMasked : u8{0}, std::memory_order_relaxed);
}

bool MessageMasks::raise(u32 vector) {
  std::atomic<u8>& at = states_[vector];
  u8 state = at.load();
  do {
    if ((state & kMasked) == 0 && !all_masked()) return true;
  } while (!at.compare_exchange_weak(state, state | kPending));
  // Whoever unmasks the function looks for pending messages afterwards; one of the two sees the other.
  return take(vector);
}

bool MessageMasks::set(u32 vector, Masked masked) {
  if (masked == Masked::kYes) {
    states_[vector].fetch_or(kMasked);
    return false;
  }
  states_[vector].fetch_and(static_cast<u8>(~kMasked));
  return take(vector);
}

bool MessageMasks::take(u32 vector) {
  if (all_masked()) return false;
  std::atomic<u8>& at = states_[vector];
  u8 state = at.load();
  do {
    if (state != kPending) return false;  // masked, or nothing pending
  } while (!at.compare_exchange_weak(state, u8{0}));
  return true;
}

u64 MessageMasks::pending(u32 word) const {
  u64 bits = 0;
  const u32 first = 64 * word;
  for (u32 i = first; i < std::min(first + 64, size()); ++i)
    if ((states_[i].load(std::memory_order_relaxed) & kPending) != 0) bits |= u64{1} << (i - first);
  return bits;
}

void MessageMasks::drop_pending() {
  for (std::atomic<u8>& s : states_) s.fetch_and(static_cast<u8>(~kPending));
}

}  // namespace iommufd::pci

// SPDX-License-Identifier: BSD-3-Clause
// The registers of an I/OAT as memory: the client's, while the BAR is mapped, else our own. All accesses are atomic and of the
// register's own width, because two registers that clients store to share a word (spec ioat 2).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <span>

#include "base/types.hpp"
#include "models/ioat/registers.hpp"

namespace iommufd::models::ioat {

class Page {
 public:
  // Registers live in `memory` from now on, with what they hold.
  void attach(std::span<std::byte> memory) {
    std::memcpy(memory.data(), at_, kRegistersEnd);
    at_ = memory.data();
  }
  void detach() {
    if (!attached()) return;
    std::memcpy(own_.data(), at_, kRegistersEnd);
    at_ = own_.data();
  }
  [[nodiscard]] bool attached() const { return at_ != own_.data(); }

  template <class T>
  [[nodiscard]] T load(u64 offset) const {
    return word<T>(offset).load(std::memory_order_acquire);
  }
  template <class T>
  void store(u64 offset, T value) {
    word<T>(offset).store(value, std::memory_order_release);
  }
  template <class T>
  T exchange(u64 offset, T value) {
    return word<T>(offset).exchange(value, std::memory_order_acq_rel);
  }
  // Bits that the client sets at the same time are kept.
  template <class T>
  void clear(u64 offset, T bits) {
    word<T>(offset).fetch_and(static_cast<T>(~bits), std::memory_order_acq_rel);
  }

 private:
  template <class T>
  [[nodiscard]] std::atomic_ref<T> word(u64 offset) const {
    return std::atomic_ref<T>(*reinterpret_cast<T*>(at_ + offset));
  }
  alignas(8) std::array<std::byte, kRegistersEnd> own_{};
  std::byte* at_ = own_.data();
};

}  // namespace iommufd::models::ioat

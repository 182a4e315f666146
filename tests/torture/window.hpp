// SPDX-License-Identifier: BSD-3-Clause
// Memory that is taken from the device and given back while commands work on it. After the unmap has returned nothing of it
// may change.
#pragma once

#include <shared_mutex>

#include "tests/torture/session.hpp"

namespace torture {

class Window {
 public:
  static constexpr u64 kIova = 0x2'0000'0000, kSize = 2 << 20;

  Window(Session& session, nvme::Sharing sharing)
      : memory(session.device, sharing, kIova, kSize), device_(session.device) {}

  // Unmaps, looks whether anything is written, and maps again.
  void blink() {
    const std::unique_lock lock(mu_);
    memory.unmap(device_);
    ++turns_;
    const std::span<u8> bytes = memory.bytes();
    before_.assign(bytes.begin(), bytes.end());
    ::usleep(500);
    if (!std::ranges::equal(bytes, before_)) wrong("memory is written after IOMMU_IOAS_UNMAP has returned");
    memory.map(device_);
  }
  // Held by whoever touches the memory itself.
  std::shared_lock<std::shared_mutex> hold() { return std::shared_lock(mu_); }
  // Changes with each blink(). Pre: held.
  [[nodiscard]] u64 turns() const { return turns_; }

  nvme::Memory memory;

 private:
  const nvme::Device& device_;
  std::shared_mutex mu_;
  u64 turns_ = 0;
  std::vector<u8> before_;
};

}  // namespace torture

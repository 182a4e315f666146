// SPDX-License-Identifier: BSD-3-Clause
// Which messages (MSI or MSI-X) are masked, and which of those have been raised since: the vector control and pending bits of
// PCI 3.0, 6.8.2.6 to 6.8.2.9. Lock-free: models raise under any lock of theirs.
#pragma once

#include <atomic>
#include <vector>

#include "base/types.hpp"

namespace iommufd::pci {

enum class Masked : u8 { kNo, kYes };

class MessageMasks {
 public:
  // All vectors begin as `state`.
  MessageMasks(u32 vectors, Masked state);

  [[nodiscard]] u32 size() const { return static_cast<u32>(states_.size()); }
  // A message of `vector` is raised. True: send it now. False: it is masked, and pending from now on.
  bool raise(u32 vector);
  // Masks or unmasks one vector. True: its message was pending, and is to be sent now.
  [[nodiscard]] bool set(u32 vector, Masked masked);
  // Masks or unmasks the function as a whole. After unmasking, take() says for each vector whether to send.
  void set_all(Masked masked) { all_masked_.store(masked == Masked::kYes); }
  [[nodiscard]] bool all_masked() const { return all_masked_.load(); }
  // True: the message of `vector` is pending and no longer masked; it is not pending any more then.
  bool take(u32 vector);

  // Pending bits of vectors 64 * word to 64 * word + 63.
  [[nodiscard]] u64 pending(u32 word) const;
  void drop_pending();

 private:
  static constexpr u8 kMasked = 1, kPending = 2;
  std::atomic<bool> all_masked_{false};
  std::vector<std::atomic<u8>> states_;
};

}  // namespace iommufd::pci

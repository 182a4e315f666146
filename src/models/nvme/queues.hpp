// SPDX-License-Identifier: BSD-3-Clause
// The rings (NVMe 1.4, 4.1; spec nvme 4 and 8). A submission queue fetches entries, as many as its completion queue has
// room for: each command that was fetched has an entry reserved there, so that a completion never waits for anything but
// the client's head.
#pragma once

#include <span>
#include <vector>

#include "iommu/dma_port.hpp"
#include "models/nvme/status.hpp"
#include "models/nvme/wire.hpp"

namespace iommufd::models::nvme {

class CompletionQueue {
 public:
  struct Shape {
    u16 id = 0;
    u32 size = 0;  // entries
    u64 base = 0;
    u16 vector = 0;
    bool interrupts = false;
  };
  explicit CompletionQueue(const Shape& shape);

  // Room for commands that may be fetched now.
  [[nodiscard]] u32 room() const;
  void reserve(u32 commands) { reserved_ += commands; }
  // A command that was fetched will not be completed for now (an AER), or not at all.
  void unreserve() { --reserved_; }
  // Completes a command. Reserved::kNo: it gave its room back before.
  enum class Reserved : u8 { kNo, kYes };
  void push(const Cqe& entry, Reserved reserved);

  // Writes what waits, as far as there is room. True when something was written. Errors: kFault.
  Result<bool> post(iommu::DmaPort& port);
  // The head that the client gave. False: it is none.
  bool set_head(u32 head);

  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] bool waiting() const { return !waiting_.empty(); }
  // Entries that the client has not taken.
  [[nodiscard]] bool unread() const { return head_ != tail_; }
  [[nodiscard]] u32 head() const { return head_; }
  u32 users = 0;  // submission queues

 private:
  [[nodiscard]] u32 free() const { return (head_ + shape_.size - tail_ - 1) % shape_.size; }
  Result<void> write(iommu::DmaPort& port, std::span<Cqe> entries);

  const Shape shape_;
  u32 head_ = 0;
  u32 tail_ = 0;
  u16 phase_ = 1;  // of entries that are written now
  u32 reserved_ = 0;
  std::vector<Cqe> waiting_;
};

class SubmissionQueue {
 public:
  struct Shape {
    u16 id = 0;
    u32 size = 0;
    u64 base = 0;
    u16 cq = 0;
  };
  explicit SubmissionQueue(const Shape& shape) : shape_(shape) {}

  // Reads the next entries into `out`, all up to the end of the ring, and gives their number. Errors: kFault.
  Result<u32> fetch(iommu::DmaPort& port, std::span<Sqe> out);
  // The tail that the client gave. False: it is none.
  bool set_tail(u32 tail);

  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] bool empty() const { return head_ == tail_; }
  [[nodiscard]] u16 head() const { return static_cast<u16>(head_); }
  [[nodiscard]] u32 tail() const { return tail_; }
  // Nothing more is fetched.
  void stop() { tail_ = head_; }

  u32 in_flight = 0;  // commands at the store

 private:
  const Shape shape_;
  u32 head_ = 0;
  u32 tail_ = 0;
};

}  // namespace iommufd::models::nvme

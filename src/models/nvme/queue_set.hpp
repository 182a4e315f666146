// SPDX-License-Identifier: BSD-3-Clause
// All queues of a controller by number; 0 is the admin pair. Belongs to whoever serves the controller.
#pragma once

#include <bitset>
#include <memory>
#include <vector>

#include "models/nvme/queues.hpp"
#include "models/nvme/registers.hpp"
#include "pci/interrupts.hpp"

namespace iommufd::models::nvme {

class QueueSet {
 public:
  explicit QueueSet(u32 io_queues) : sqs_(io_queues + 1), cqs_(io_queues + 1) {}

  void clear();
  void create(const CompletionQueue::Shape& shape) { cqs_[shape.id] = std::make_unique<CompletionQueue>(shape); }
  // Pre: its completion queue exists.
  void create(const SubmissionQueue::Shape& shape);
  void erase_cq(u32 id) { cqs_[id].reset(); }
  // Pre: nothing of it is in flight.
  void erase_sq(u32 id);

  // Null: there is none. Any number may be asked for.
  [[nodiscard]] SubmissionQueue* sq(u32 id) const { return id < sqs_.size() ? sqs_[id].get() : nullptr; }
  [[nodiscard]] CompletionQueue* cq(u32 id) const { return id < cqs_.size() ? cqs_[id].get() : nullptr; }
  [[nodiscard]] CompletionQueue& cq_of(const SubmissionQueue& queue) const { return *cqs_[queue.shape().cq]; }
  [[nodiscard]] u32 count() const { return static_cast<u32>(sqs_.size()); }

  void complete(const SubmissionQueue& queue, u16 cid, Status status, u32 result = 0,
                CompletionQueue::Reserved reserved = CompletionQueue::Reserved::kYes);

  // Writes completions to the client, and then signals each vector once. True when there was something. Errors: kFault.
  Result<bool> post(iommu::DmaPort& port, pci::InterruptPort& interrupts);
  // Should the interrupt line be high, with the vectors of `mask` masked?
  [[nodiscard]] bool line_asserted(u32 mask) const;

 private:
  std::vector<std::unique_ptr<SubmissionQueue>> sqs_;
  std::vector<std::unique_ptr<CompletionQueue>> cqs_;
};

}  // namespace iommufd::models::nvme

// SPDX-License-Identifier: BSD-3-Clause
#include "models/nvme/queue_set.hpp"

#include <ranges>

namespace iommufd::models::nvme {

void QueueSet::clear() {
  for (auto& queue : sqs_) queue.reset();
  for (auto& queue : cqs_) queue.reset();
}

void QueueSet::create(const SubmissionQueue::Shape& shape) {
  sqs_[shape.id] = std::make_unique<SubmissionQueue>(shape);
  ++cqs_[shape.cq]->users;
}

void QueueSet::erase_sq(u32 id) {
  --cq_of(*sqs_[id]).users;
  sqs_[id].reset();
}

void QueueSet::complete(const SubmissionQueue& queue, u16 cid, Status status, u32 result,
                        CompletionQueue::Reserved reserved) {
  const Cqe entry{.result = result,
                  .reserved = 0,
                  .sq_head = queue.head(),
                  .sq_id = queue.shape().id,
                  .cid = cid,
                  .status = static_cast<u16>(static_cast<u16>(status) << 1)};
  cq_of(queue).push(entry, reserved);
}

// The admin queue is the last: who sees there that an I/O queue is deleted has seen all of its completions.
Result<bool> QueueSet::post(iommu::DmaPort& port, pci::InterruptPort& interrupts) {
  std::bitset<kMaxIoQueues + 1> vectors;
  bool posted = false;
  for (const auto& queue : std::views::reverse(cqs_)) {
    if (queue == nullptr || !queue->waiting()) continue;
    if (!IOMMUFD_TRY(queue->post(port))) continue;
    posted = true;
    if (queue->shape().interrupts) vectors.set(queue->shape().vector);
  }
  if (vectors.any() && interrupts.message_signalled()) {
    for (u32 vector = 0; vector < vectors.size(); ++vector)
      if (vectors.test(vector)) interrupts.send_message(vector);
  }
  return posted;
}

// The pin is vector 0 for all queues (NVMe 1.4, 7.5.1.1).
bool QueueSet::line_asserted(u32 mask) const {
  if ((mask & 1) != 0) return false;
  for (const auto& queue : cqs_)
    if (queue != nullptr && queue->shape().interrupts && queue->unread()) return true;
  return false;
}

}  // namespace iommufd::models::nvme

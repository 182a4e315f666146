// SPDX-License-Identifier: BSD-3-Clause
#include "models/nvme/admin_commands.hpp"

#include <algorithm>

#include "models/nvme/identify.hpp"

namespace iommufd::models::nvme {
namespace {

using CqInterrupts = Bits<1, 1>;  // CDW11 of Create I/O Completion Queue
using CqVector = Bits<31, 16>;
using SqCompletionQueue = Bits<31, 16>;  // CDW11 of Create I/O Submission Queue
using RetainEvent = Bits<15, 15>;        // CDW10 of Get Log Page
constexpr u32 kIoSqesLg2 = 6, kIoCqesLg2 = 4;

constexpr std::optional<u32> kLater = std::nullopt;

}  // namespace

void AdminCommands::execute(SubmissionQueue& queue, const Sqe& sqe) {
  const Answer answer = dispatch(queue, sqe);
  if (!answer) {
    s_.queues.complete(queue, sqe.cid, answer.error());
  } else if (*answer) {
    s_.queues.complete(queue, sqe.cid, Status::kSuccess, **answer);
  }
}

// Order of the checks: spec nvme 5, "Common checks".
AdminCommands::Answer AdminCommands::dispatch(SubmissionQueue& queue, const Sqe& sqe) {
  const auto opcode = static_cast<AdminOpcode>(sqe.opcode);
  const auto known = [&] {
    switch (opcode) {
      case AdminOpcode::kDoorbellBuffer: return s_.config.doorbell_buffer;
      case AdminOpcode::kDeleteSq:
      case AdminOpcode::kCreateSq:
      case AdminOpcode::kGetLogPage:
      case AdminOpcode::kDeleteCq:
      case AdminOpcode::kCreateCq:
      case AdminOpcode::kIdentify:
      case AdminOpcode::kAbort:
      case AdminOpcode::kSetFeatures:
      case AdminOpcode::kGetFeatures:
      case AdminOpcode::kAsyncEvent: return true;
    }
    return false;
  };
  if (!known()) return Bad(Status::kInvalidOpcode);
  if (Sqe::Psdt::get(sqe.flags) != 0 || Sqe::Fuse::get(sqe.flags) != 0) return Bad(Status::kInvalidField);
  switch (opcode) {
    case AdminOpcode::kDeleteSq: return delete_sq(sqe);
    case AdminOpcode::kCreateSq: return create_sq(sqe);
    case AdminOpcode::kGetLogPage: return get_log_page(sqe);
    case AdminOpcode::kDeleteCq: return delete_cq(sqe);
    case AdminOpcode::kCreateCq: return create_cq(sqe);
    case AdminOpcode::kIdentify: return do_identify(sqe);
    case AdminOpcode::kAbort: return abort(queue, sqe);
    case AdminOpcode::kSetFeatures: return set_features(queue, sqe);
    case AdminOpcode::kGetFeatures: return get_features(sqe);
    case AdminOpcode::kAsyncEvent: return async_event(queue, sqe);
    case AdminOpcode::kDoorbellBuffer: return doorbell_buffer_config(sqe);
  }
  return Bad(Status::kInvalidOpcode);
}

// --- data of admin commands: PRP only ---

Step AdminCommands::send(const Sqe& sqe, std::span<std::byte> bytes) {
  pieces_.clear();
  if (const Step ok = s_.walker.walk_prp(sqe.data, bytes, pieces_); !ok) return ok;
  return pieces_.write_to(s_.port) ? Step{} : Bad(Status::kDataTransferError);
}

Step AdminCommands::receive(const Sqe& sqe, std::span<std::byte> bytes) {
  pieces_.clear();
  if (const Step ok = s_.walker.walk_prp(sqe.data, bytes, pieces_); !ok) return ok;
  return pieces_.read_from(s_.port) ? Step{} : Bad(Status::kDataTransferError);
}

// --- queues ---

Step AdminCommands::check_ring(const Sqe& sqe) const {
  const auto size = QueueSize::get(sqe.cdw10);
  return size == 0 || size >= kMaxQueueEntries ? Bad(Status::kInvalidQueueSize) : Step{};
}

Step AdminCommands::check_base(const Sqe& sqe) const {
  const u64 page = u64{1} << s_.registers.page_lg2();
  return sqe.data.prp1 == 0 || sqe.data.prp1 % page != 0 ? Bad(Status::kPrpOffset) : Step{};
}

// A queue begins at 0, also where the buffer shows one of that number that is gone.
Step AdminCommands::show_doorbell(u32 doorbell) {
  if (!s_.doorbell_buffer.active() || s_.doorbell_buffer.show(s_.port, doorbell, 0)) return {};
  return Bad(Status::kDataTransferError);
}

AdminCommands::Answer AdminCommands::create_cq(const Sqe& sqe) {
  const u32 id = static_cast<u32>(QueueId::get(sqe.cdw10));
  const u32 vector = static_cast<u32>(CqVector::get(sqe.cdw11));
  if (cc::IoCqes::get(s_.registers.cc) != kIoCqesLg2) return Bad(Status::kInvalidQueueSize);
  if (id == 0 || id > s_.features.cq_limit() || s_.queues.cq(id) != nullptr) return Bad(Status::kInvalidQueueId);
  if (const Step ok = check_ring(sqe); !ok) return Bad(ok.error());
  if (const Step ok = check_base(sqe); !ok) return Bad(ok.error());
  // Whether MSI-X is enabled does not matter (spec nvme 5).
  if (vector >= s_.config.vectors()) return Bad(Status::kInvalidVector);
  if (QueueContiguous::get(sqe.cdw11) == 0) return Bad(Status::kInvalidField);
  if (const Step ok = show_doorbell(id * 2 + 1); !ok) return Bad(ok.error());
  s_.queues.create(CompletionQueue::Shape{.id = static_cast<u16>(id),
                                          .size = static_cast<u32>(QueueSize::get(sqe.cdw10)) + 1,
                                          .base = sqe.data.prp1,
                                          .vector = static_cast<u16>(vector),
                                          .interrupts = CqInterrupts::get(sqe.cdw11) != 0});
  s_.features.queue_created();
  return u32{0};
}

AdminCommands::Answer AdminCommands::create_sq(const Sqe& sqe) {
  const u32 id = static_cast<u32>(QueueId::get(sqe.cdw10));
  const u32 cq = static_cast<u32>(SqCompletionQueue::get(sqe.cdw11));
  if (cc::IoSqes::get(s_.registers.cc) != kIoSqesLg2) return Bad(Status::kInvalidQueueSize);
  // A number that no queue can have, and one that no queue has (spec nvme 10).
  if (cq == 0 || cq > s_.features.cq_limit()) return Bad(Status::kInvalidQueueId);
  if (s_.queues.cq(cq) == nullptr) return Bad(Status::kInvalidCq);
  if (id == 0 || id > s_.features.sq_limit() || s_.queues.sq(id) != nullptr) return Bad(Status::kInvalidQueueId);
  if (const Step ok = check_ring(sqe); !ok) return Bad(ok.error());
  if (const Step ok = check_base(sqe); !ok) return Bad(ok.error());
  if (QueueContiguous::get(sqe.cdw11) == 0) return Bad(Status::kInvalidField);
  if (const Step ok = show_doorbell(id * 2); !ok) return Bad(ok.error());
  s_.queues.create(SubmissionQueue::Shape{.id = static_cast<u16>(id),
                                          .size = static_cast<u32>(QueueSize::get(sqe.cdw10)) + 1,
                                          .base = sqe.data.prp1,
                                          .cq = static_cast<u16>(cq)});
  s_.features.queue_created();
  return u32{0};
}

AdminCommands::Answer AdminCommands::delete_cq(const Sqe& sqe) {
  const u32 id = static_cast<u32>(QueueId::get(sqe.cdw10));
  const CompletionQueue* queue = s_.queues.cq(id);
  if (id == 0 || queue == nullptr) return Bad(Status::kInvalidQueueId);
  if (queue->users != 0) return Bad(Status::kInvalidQueueDeletion);
  s_.queues.erase_cq(id);
  return u32{0};
}

// What was not fetched is dropped, and the ring is not read any more: its memory may be gone (spec nvme 5). What the store
// works on is completed first.
AdminCommands::Answer AdminCommands::delete_sq(const Sqe& sqe) {
  const u32 id = static_cast<u32>(QueueId::get(sqe.cdw10));
  SubmissionQueue* queue = s_.queues.sq(id);
  if (id == 0 || queue == nullptr || deleting(id)) return Bad(Status::kInvalidQueueId);
  queue->stop();
  deletions_.push_back({id, sqe.cid});
  return kLater;
}

bool AdminCommands::deleting(u32 sq) const {
  return std::ranges::find(deletions_, sq, &Deletion::sq) != deletions_.end();
}

void AdminCommands::follow_up() {
  SubmissionQueue* admin = s_.queues.sq(0);
  std::erase_if(deletions_, [&](const Deletion& deletion) {
    if (s_.queues.sq(deletion.sq)->in_flight != 0) return false;
    s_.queues.erase_sq(deletion.sq);
    s_.queues.complete(*admin, deletion.cid, Status::kSuccess);
    return true;
  });
  while (const auto report = s_.events.take())
    s_.queues.complete(*admin, report->cid, Status::kSuccess, report->result, CompletionQueue::Reserved::kNo);
}

// --- the rest ---

AdminCommands::Answer AdminCommands::get_log_page(const Sqe& sqe) {
  const u64 length = ((sqe.cdw10 >> 16 | u64{sqe.cdw11 & 0xffff} << 16) + 1) * 4;
  const u64 offset = sqe.cdw12 | u64{sqe.cdw13} << 32;
  auto page = log_page(s_.config, s_.features, s_.statistics, sqe);
  if (!page) return Bad(page.error());
  if (offset % 4 != 0 || offset >= page->size()) return Bad(Status::kInvalidField);
  const std::span<std::byte> part = std::span(*page).subspan(offset, std::min<u64>(length, page->size() - offset));
  if (const Step ok = send(sqe, part); !ok) return Bad(ok.error());
  if (RetainEvent::get(sqe.cdw10) == 0) s_.events.log_page_read(static_cast<u8>(sqe.cdw10));
  return u32{0};
}

AdminCommands::Answer AdminCommands::do_identify(const Sqe& sqe) {
  IdentifyData data{};
  if (const Step ok = identify(s_.config, sqe, data); !ok) return Bad(ok.error());
  if (const Step ok = send(sqe, data); !ok) return Bad(ok.error());
  return u32{0};
}

// Only requests for events wait long enough to be aborted.
AdminCommands::Answer AdminCommands::abort(SubmissionQueue& queue, const Sqe& sqe) {
  const u32 sq = sqe.cdw10 & 0xffff;
  const u16 cid = static_cast<u16>(sqe.cdw10 >> 16);
  if (s_.queues.sq(sq) == nullptr) return Bad(Status::kInvalidField);
  if (sq != 0 || !s_.events.abort(cid)) return u32{1};
  s_.queues.complete(queue, cid, Status::kAborted, 0, CompletionQueue::Reserved::kNo);
  return u32{0};
}

AdminCommands::Answer AdminCommands::set_features(SubmissionQueue& queue, const Sqe& sqe) {
  const bool cached = s_.features.write_cache();
  const auto result = s_.features.set(sqe);
  if (!result) return Bad(result.error());
  if (const std::span<std::byte> payload = s_.features.payload(sqe); !payload.empty())
    if (const Step ok = receive(sqe, payload); !ok) return Bad(ok.error());
  if (static_cast<FeatureId>(sqe.cdw10 & 0xff) == FeatureId::kTemperatureThreshold) check_temperature();
  if (cached && !s_.features.write_cache()) {
    s_.io.flush_for(queue, sqe.cid);
    return kLater;
  }
  return *result;
}

void AdminCommands::check_temperature() {
  constexpr unsigned kTemperatureWarning = 1;
  if (s_.features.too_hot_or_cold() && s_.features.reports_warning(kTemperatureWarning))
    s_.events.raise(Event::kTemperature);
}

AdminCommands::Answer AdminCommands::get_features(const Sqe& sqe) {
  const auto result = s_.features.get(sqe);
  if (!result) return Bad(result.error());
  if (const std::span<std::byte> payload = s_.features.payload(sqe); !payload.empty())
    if (const Step ok = send(sqe, payload); !ok) return Bad(ok.error());
  return *result;
}

AdminCommands::Answer AdminCommands::async_event(const SubmissionQueue& queue, const Sqe& sqe) {
  if (!s_.events.add(sqe.cid)) return Bad(Status::kAerLimit);
  s_.queues.cq_of(queue).unreserve();
  return kLater;
}

AdminCommands::Answer AdminCommands::doorbell_buffer_config(const Sqe& sqe) {
  const u64 page = u64{1} << s_.registers.page_lg2();
  if (sqe.data.prp1 == 0 || sqe.data.prp2 == 0 || sqe.data.prp1 % page != 0 || sqe.data.prp2 % page != 0)
    return Bad(Status::kInvalidField);
  s_.doorbell_buffer.configure(sqe.data.prp1, sqe.data.prp2);
  for (u32 id = 0; id < s_.queues.count(); ++id) {
    const SubmissionQueue* sq = s_.queues.sq(id);
    const CompletionQueue* cq = s_.queues.cq(id);
    if (sq != nullptr && !s_.doorbell_buffer.show(s_.port, id * 2, sq->tail())) return Bad(Status::kDataTransferError);
    if (cq != nullptr && !s_.doorbell_buffer.show(s_.port, id * 2 + 1, cq->head()))
      return Bad(Status::kDataTransferError);
  }
  return u32{0};
}

}  // namespace iommufd::models::nvme

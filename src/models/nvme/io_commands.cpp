// SPDX-License-Identifier: BSD-3-Clause
#include "models/nvme/io_commands.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "models/nvme/file_store.hpp"

namespace iommufd::models::nvme {
namespace {

using BlockCount = Bits<15, 0>;        // CDW12, 0-based
using ForceUnitAccess = Bits<30, 30>;  // CDW12
using Deallocate = Bits<25, 25>;       // CDW12 of Write Zeroes
using RangeCount = Bits<7, 0>;         // CDW10 of Dataset Management, 0-based
using RangeDeallocate = Bits<2, 2>;    // CDW11 of it

u64 first_block(const Sqe& sqe) { return sqe.cdw10 | u64{sqe.cdw11} << 32; }

// One slot more for flush().
constexpr u32 kSlots = kMostJobs / 2;

Status status_of(Job::Kind kind, const Result<void>& result) {
  if (result) return Status::kSuccess;
  if (kind == Job::Kind::kRead) return Status::kReadError;
  return kind == Job::Kind::kFlush ? Status::kInternalError : Status::kWriteFault;
}

}  // namespace

IoCommands::IoCommands(const Surroundings& surroundings, std::unique_ptr<Store> store)
    : s_(surroundings), block_(std::size_t{1} << s_.config.block_lg2), store_(std::move(store)) {
  for (u32 i = 0; i < kSlots; ++i) {
    slots_.push_back(std::make_unique<Slot>());
    idle_.push_back(slots_.back().get());
  }
}

void IoCommands::execute(SubmissionQueue& queue, const Sqe& sqe) {
  if (const Answer status = dispatch(queue, sqe)) s_.queues.complete(queue, sqe.cid, *status);
}

// Order of the checks: spec nvme 5 and 7.
IoCommands::Answer IoCommands::dispatch(SubmissionQueue& queue, const Sqe& sqe) {
  const auto opcode = static_cast<IoOpcode>(sqe.opcode);
  const bool changes =
      opcode == IoOpcode::kWrite || opcode == IoOpcode::kWriteZeroes || opcode == IoOpcode::kDatasetManagement;
  if (!changes && opcode != IoOpcode::kFlush && opcode != IoOpcode::kRead && opcode != IoOpcode::kCompare)
    return Status::kInvalidOpcode;
  const auto psdt = Sqe::Psdt::get(sqe.flags);
  if (Sqe::Fuse::get(sqe.flags) != 0 || psdt == 3 || (psdt != 0 && !s_.config.sgl)) return Status::kInvalidField;
  const bool all = opcode == IoOpcode::kFlush && sqe.nsid == kAllNamespaces;
  if (!all && (sqe.nsid == 0 || sqe.nsid > s_.config.namespaces)) return Status::kInvalidNamespace;
  if (changes && s_.config.protection == Protection::kReadOnly) return Status::kWriteProtected;
  switch (opcode) {
    case IoOpcode::kFlush: flush_for(queue, sqe.cid); return std::nullopt;
    case IoOpcode::kRead: return read(queue, sqe);
    case IoOpcode::kWrite: return write(queue, sqe);
    case IoOpcode::kCompare: return compare(queue, sqe);
    case IoOpcode::kWriteZeroes: return write_zeroes(queue, sqe);
    case IoOpcode::kDatasetManagement: return deallocate(queue, sqe);
  }
  return Status::kInvalidOpcode;
}

std::expected<IoCommands::Range, Status> IoCommands::blocks_of(const Sqe& sqe, u64 start, u64 count) const {
  const u64 blocks = s_.config.blocks();
  if (start > blocks || count > blocks - start) return Bad(Status::kLbaRange);
  const u64 base = u64{sqe.nsid - 1} * s_.config.namespace_size;
  return Range{base + (start << s_.config.block_lg2), count << s_.config.block_lg2};
}

std::expected<IoCommands::Range, Status> IoCommands::transfer_of(const Sqe& sqe) const {
  const u64 count = BlockCount::get(sqe.cdw12) + 1;
  if (count << s_.config.block_lg2 > kMostBytes) return Bad(Status::kInvalidField);
  return blocks_of(sqe, first_block(sqe), count);
}

Step IoCommands::walk(const Sqe& sqe, std::span<std::byte> bytes, Direction direction, PieceList& out) {
  out.clear();
  if (Sqe::Psdt::get(sqe.flags) == 0) return s_.walker.walk_prp(sqe.data, bytes, out);
  return s_.walker.walk_sgl(sqe.data, bytes, direction, out);
}

Job::Durable IoCommands::durability(const Sqe& sqe) const {
  const bool now = ForceUnitAccess::get(sqe.cdw12) != 0 || !s_.features.write_cache();
  return now ? Job::Durable::kYes : Job::Durable::kNo;
}

IoCommands::Answer IoCommands::read(SubmissionQueue& queue, const Sqe& sqe) {
  const auto range = transfer_of(sqe);
  if (!range) return range.error();
  const std::span<std::byte> memory = store_->memory();
  ++s_.statistics.reads;
  s_.statistics.bytes_read += range->length;
  if (!memory.empty()) {
    if (const Step ok = walk(sqe, memory.subspan(range->offset, range->length), Direction::kToHost, pieces_); !ok)
      return ok.error();
    if (!pieces_.write_to(s_.port)) return Status::kDataTransferError;
    return Status::kSuccess;
  }
  Slot& slot = take_slot(&queue, sqe.cid, IoOpcode::kRead);
  slot.bytes.resize(std::max<std::size_t>(slot.bytes.size(), range->length));
  if (const Step ok = walk(sqe, std::span(slot.bytes).first(range->length), Direction::kToHost, slot.pieces); !ok) {
    release(slot);
    return ok.error();
  }
  static_cast<Job&>(slot) = {Job::Kind::kRead, Job::Durable::kNo, range->offset, range->length, slot.bytes.data()};
  return start(slot);
}

IoCommands::Answer IoCommands::write(SubmissionQueue& queue, const Sqe& sqe) {
  const auto range = transfer_of(sqe);
  if (!range) return range.error();
  const std::span<std::byte> memory = store_->memory();
  ++s_.statistics.writes;
  s_.statistics.bytes_written += range->length;
  if (!memory.empty()) return write_to(memory.subspan(range->offset, range->length), sqe);
  Slot& slot = take_slot(&queue, sqe.cid, IoOpcode::kWrite);
  slot.bytes.resize(std::max<std::size_t>(slot.bytes.size(), range->length));
  Step ok = walk(sqe, std::span(slot.bytes).first(range->length), Direction::kToDevice, slot.pieces);
  if (ok && !slot.pieces.read_from(s_.port)) ok = Bad(Status::kDataTransferError);
  if (!ok) {
    release(slot);
    return ok.error();
  }
  static_cast<Job&>(slot) = {Job::Kind::kWrite, durability(sqe), range->offset, range->length, slot.bytes.data()};
  return start(slot);
}

// A block alone is written whole or not at all, whatever the bus does: AWUPF is 0, which is one block (spec nvme 5; NVMe 1.4,
// 6.4). It is gathered first; of more blocks that is not promised, and they need no second copy.
Status IoCommands::write_to(std::span<std::byte> stored, const Sqe& sqe) {
  const bool alone = stored.size() == block_.size();
  const std::span<std::byte> target = alone ? std::span(block_) : stored;
  if (const Step ok = walk(sqe, target, Direction::kToDevice, pieces_); !ok) return ok.error();
  if (!pieces_.read_from(s_.port)) return Status::kDataTransferError;
  if (alone) std::ranges::copy(block_, stored.begin());
  return Status::kSuccess;
}

IoCommands::Answer IoCommands::compare(SubmissionQueue& queue, const Sqe& sqe) {
  const auto range = transfer_of(sqe);
  if (!range) return range.error();
  compared_.resize(kMostBytes);
  const auto theirs = std::span(compared_).first(range->length);
  const std::span<std::byte> memory = store_->memory();
  if (!memory.empty()) {
    if (const Step ok = walk(sqe, theirs, Direction::kToDevice, pieces_); !ok) return ok.error();
    return compare_with(memory.subspan(range->offset, range->length), pieces_);
  }
  Slot& slot = take_slot(&queue, sqe.cid, IoOpcode::kCompare);
  slot.bytes.resize(std::max<std::size_t>(slot.bytes.size(), range->length));
  if (const Step ok = walk(sqe, theirs, Direction::kToDevice, slot.pieces); !ok) {
    release(slot);
    return ok.error();
  }
  static_cast<Job&>(slot) = {Job::Kind::kRead, Job::Durable::kNo, range->offset, range->length, slot.bytes.data()};
  return start(slot);
}

Status IoCommands::compare_with(std::span<const std::byte> stored, const PieceList& pieces) {
  if (!pieces.read_from(s_.port)) return Status::kDataTransferError;
  return std::memcmp(stored.data(), compared_.data(), stored.size()) == 0 ? Status::kSuccess : Status::kCompareFailure;
}

IoCommands::Answer IoCommands::write_zeroes(SubmissionQueue& queue, const Sqe& sqe) {
  const auto range = blocks_of(sqe, first_block(sqe), BlockCount::get(sqe.cdw12) + 1);
  if (!range) return range.error();
  Slot& slot = take_slot(&queue, sqe.cid, IoOpcode::kWriteZeroes);
  const auto kind = Deallocate::get(sqe.cdw12) != 0 ? Job::Kind::kDeallocate : Job::Kind::kZero;
  static_cast<Job&>(slot) = {kind, durability(sqe), range->offset, range->length, nullptr};
  return start(slot);
}

IoCommands::Answer IoCommands::deallocate(SubmissionQueue& queue, const Sqe& sqe) {
  struct WireRange {
    u32 attributes, blocks;
    u64 start;
  };
  std::array<WireRange, 256> wire;
  const auto given = std::span(wire).first(RangeCount::get(sqe.cdw10) + 1);
  if (const Step ok = walk(sqe, std::as_writable_bytes(given), Direction::kToDevice, pieces_); !ok) return ok.error();
  if (!pieces_.read_from(s_.port)) return Status::kDataTransferError;
  for (const WireRange& r : given)
    if (!blocks_of(sqe, r.start, r.blocks)) return Status::kLbaRange;
  if (RangeDeallocate::get(sqe.cdw11) == 0) return Status::kSuccess;  // the others are hints
  Slot& slot = take_slot(&queue, sqe.cid, IoOpcode::kDatasetManagement);
  for (const WireRange& r : given)
    if (r.blocks != 0) slot.ranges.push_back(*blocks_of(sqe, r.start, r.blocks));
  return start_next_range(slot);
}

IoCommands::Answer IoCommands::start_next_range(Slot& slot) {
  if (slot.ranges.empty()) {
    release(slot);
    return Status::kSuccess;
  }
  const Range next = slot.ranges.back();
  slot.ranges.pop_back();
  static_cast<Job&>(slot) = {Job::Kind::kDeallocate, Job::Durable::kNo, next.offset, next.length, nullptr};
  return start(slot);
}

void IoCommands::flush_for(SubmissionQueue& queue, u16 cid) {
  Slot& slot = take_slot(&queue, cid, IoOpcode::kFlush);
  static_cast<Job&>(slot) = {Job::Kind::kFlush, Job::Durable::kNo, 0, 0, nullptr};
  if (const Answer status = start(slot)) s_.queues.complete(queue, cid, *status);
}

void IoCommands::flush() {
  flushing_ = true;
  Slot& slot = take_slot(nullptr, 0, IoOpcode::kFlush);
  static_cast<Job&>(slot) = {Job::Kind::kFlush, Job::Durable::kNo, 0, 0, nullptr};
  start(slot);
}

// --- slots ---

// Pre: room() is not 0; who fetches commands sees to it.
IoCommands::Slot& IoCommands::take_slot(SubmissionQueue* queue, u16 cid, IoOpcode opcode) {
  if (idle_.empty()) {
    slots_.push_back(std::make_unique<Slot>());
    idle_.push_back(slots_.back().get());
  }
  Slot& slot = *idle_.back();
  idle_.pop_back();
  slot.queue = queue;
  slot.cid = cid;
  slot.opcode = opcode;
  slot.ranges.clear();
  ++in_flight_;
  if (queue != nullptr) ++queue->in_flight;
  return slot;
}

void IoCommands::release(Slot& slot) {
  --in_flight_;
  if (slot.queue != nullptr) {
    --slot.queue->in_flight;
  } else {
    flushing_ = false;
  }
  idle_.push_back(&slot);
}

IoCommands::Answer IoCommands::start(Slot& slot) {
  if (const auto done = store_->start(slot)) return go_on(slot, *done);
  return std::nullopt;
}

IoCommands::Answer IoCommands::go_on(Slot& slot, const Result<void>& result) {
  Status status = status_of(slot.kind, result);
  if (status == Status::kSuccess) {
    if (slot.opcode == IoOpcode::kRead && !slot.pieces.write_to(s_.port)) status = Status::kDataTransferError;
    if (slot.opcode == IoOpcode::kCompare)
      status = compare_with(std::span<const std::byte>(slot.bytes).first(slot.length), slot.pieces);
    if (slot.opcode == IoOpcode::kDatasetManagement) return start_next_range(slot);
  }
  release(slot);
  return status;
}

bool IoCommands::collect() {
  bool worked = false;
  while (const auto done = store_->collect()) {
    worked = true;
    Slot& slot = static_cast<Slot&>(*done->job);
    SubmissionQueue* queue = slot.queue;
    const u16 cid = slot.cid;
    const Answer status = go_on(slot, done->result);
    if (status && queue != nullptr) s_.queues.complete(*queue, cid, *status);
  }
  return worked;
}

void IoCommands::drain() {
  store_->drain();
  idle_.clear();
  for (const auto& slot : slots_) idle_.push_back(slot.get());
  in_flight_ = 0;
  flushing_ = false;
}

}  // namespace iommufd::models::nvme

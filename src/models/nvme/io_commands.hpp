// SPDX-License-Identifier: BSD-3-Clause
// The commands of I/O queues (NVMe 1.4, 6; spec nvme 7). With blocks in memory a command is done when execute() returns. With
// blocks in a file it takes a slot, whose buffer is ours for as long as the host works on it: what happens to the client
// or its memory meanwhile does not matter.
#pragma once

#include <memory>
#include <vector>

#include "models/nvme/data_pointer.hpp"
#include "models/nvme/features.hpp"
#include "models/nvme/log_pages.hpp"
#include "models/nvme/queue_set.hpp"
#include "models/nvme/store.hpp"

namespace iommufd::models::nvme {

class IoCommands {
 public:
  struct Surroundings {
    const NvmeConfig& config;
    iommu::DmaPort& port;
    DataPointerWalker& walker;
    QueueSet& queues;
    const Features& features;
    Statistics& statistics;
  };
  IoCommands(const Surroundings& surroundings, std::unique_ptr<Store> store);

  // Completes the command now or later.
  void execute(SubmissionQueue& queue, const Sqe& sqe);
  // A flush on behalf of a command of another kind: completes it when done.
  void flush_for(SubmissionQueue& queue, u16 cid);
  // The same for nobody: flushed() tells.
  void flush();
  [[nodiscard]] bool flushed() const { return !flushing_; }

  // Commands that may be started now, and that have been and are not done.
  [[nodiscard]] u32 room() const { return static_cast<u32>(idle_.size()); }
  [[nodiscard]] u32 in_flight() const { return in_flight_; }
  void submit() { store_->submit(); }
  // Goes on with what the store has done. True when there was something.
  bool collect();
  // Waits for all that is in flight, and forgets it.
  void drain();

 private:
  struct Range {
    u64 offset, length;
  };
  struct Slot final : Job {
    SubmissionQueue* queue = nullptr;  // null: of flush()
    u16 cid = 0;
    IoOpcode opcode{};
    PieceList pieces;
    std::vector<std::byte> bytes;
    std::vector<Range> ranges;  // that are left, last first
  };
  // The blocks of a command, as bytes of the store.
  std::expected<Range, Status> blocks_of(const Sqe& sqe, u64 start, u64 count) const;
  std::expected<Range, Status> transfer_of(const Sqe& sqe) const;
  Step walk(const Sqe& sqe, std::span<std::byte> bytes, Direction direction, PieceList& out);

  // Nothing: the command goes on in a slot.
  using Answer = std::optional<Status>;
  Answer dispatch(SubmissionQueue& queue, const Sqe& sqe);
  Answer read(SubmissionQueue& queue, const Sqe& sqe);
  Answer write(SubmissionQueue& queue, const Sqe& sqe);
  Status write_to(std::span<std::byte> stored, const Sqe& sqe);
  Answer compare(SubmissionQueue& queue, const Sqe& sqe);
  Answer write_zeroes(SubmissionQueue& queue, const Sqe& sqe);
  Answer deallocate(SubmissionQueue& queue, const Sqe& sqe);

  Slot& take_slot(SubmissionQueue* queue, u16 cid, IoOpcode opcode);
  Answer start(Slot& slot);
  Answer start_next_range(Slot& slot);
  // After its job: the command's status, or nothing when another job has begun.
  Answer go_on(Slot& slot, const Result<void>& result);
  Status compare_with(std::span<const std::byte> stored, const PieceList& pieces);
  void release(Slot& slot);
  [[nodiscard]] Job::Durable durability(const Sqe& sqe) const;

  const Surroundings s_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> idle_;
  u32 in_flight_ = 0;
  bool flushing_ = false;
  PieceList pieces_;
  std::vector<std::byte> compared_;     // what the client says it is
  std::vector<std::byte> block_;        // one that is on its way into memory
  const std::unique_ptr<Store> store_;  // the last: its end waits for jobs, which are in slots_
};

}  // namespace iommufd::models::nvme

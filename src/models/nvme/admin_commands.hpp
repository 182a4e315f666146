// SPDX-License-Identifier: BSD-3-Clause
// The commands of the admin queue (NVMe 1.4, 5; spec nvme 5).
#pragma once

#include "models/nvme/async_events.hpp"
#include "models/nvme/doorbell_buffer.hpp"
#include "models/nvme/io_commands.hpp"

namespace iommufd::models::nvme {

class AdminCommands {
 public:
  struct Surroundings {
    const NvmeConfig& config;
    iommu::DmaPort& port;
    DataPointerWalker& walker;
    QueueSet& queues;
    Features& features;
    AsyncEvents& events;
    DoorbellBuffer& doorbell_buffer;
    IoCommands& io;
    const Statistics& statistics;
    const Registers& registers;
  };
  explicit AdminCommands(const Surroundings& surroundings) : s_(surroundings) {}

  // Completes the command, now or later.
  void execute(SubmissionQueue& queue, const Sqe& sqe);
  // Goes on with queues that are being deleted, and reports events.
  void follow_up();
  [[nodiscard]] bool deleting(u32 sq) const;
  void clear() { deletions_.clear(); }

 private:
  struct Deletion {
    u32 sq;
    u16 cid;
  };
  // Nothing: completed later, or already.
  using Answer = std::expected<std::optional<u32>, Status>;
  Answer dispatch(SubmissionQueue& queue, const Sqe& sqe);
  Answer create_cq(const Sqe& sqe);
  Answer create_sq(const Sqe& sqe);
  Answer delete_cq(const Sqe& sqe);
  Answer delete_sq(const Sqe& sqe);
  Answer get_log_page(const Sqe& sqe);
  Answer do_identify(const Sqe& sqe);
  Answer abort(SubmissionQueue& queue, const Sqe& sqe);
  Answer set_features(SubmissionQueue& queue, const Sqe& sqe);
  Answer get_features(const Sqe& sqe);
  Answer async_event(const SubmissionQueue& queue, const Sqe& sqe);
  Answer doorbell_buffer_config(const Sqe& sqe);

  void check_temperature();
  // Size and place of a new ring.
  [[nodiscard]] Step check_ring(const Sqe& sqe) const;
  [[nodiscard]] Step check_base(const Sqe& sqe) const;
  Step show_doorbell(u32 doorbell);
  Step send(const Sqe& sqe, std::span<std::byte> bytes);
  Step receive(const Sqe& sqe, std::span<std::byte> bytes);

  const Surroundings s_;
  PieceList pieces_;
  std::vector<Deletion> deletions_;
};

}  // namespace iommufd::models::nvme

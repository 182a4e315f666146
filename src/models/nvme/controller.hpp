// SPDX-License-Identifier: BSD-3-Clause
// An NVMe 1.4 controller: registers, state machine, and the rounds in which queues are served (spec nvme 2, 3 and 8). BAR 0 is
// reached in two ways, at once: trapped accesses are executed exactly; stores into mapped memory (BarPage) are seen by poll().
//
// Invariants: everything below belongs to the thread that has the turn. A round moves a bounded number of commands. When RDY
// falls, and when reset() returns, nothing is in flight: no DMA, no interrupt, no job at the store.
//
// Lock order: turn_ (a flag, see models/turn.hpp; waited for with no lock of kModel or above), then kIrq and kLeaf through the ports.
#pragma once

#include <array>

#include "models/nvme/admin_commands.hpp"
#include "models/nvme/bar_page.hpp"
#include "models/poller.hpp"
#include "models/turn.hpp"
#include "pci/device_model.hpp"

namespace iommufd::models::nvme {

class Controller final : public pci::DeviceModel {
 public:
  Controller(const NvmeConfig& config, std::unique_ptr<Store> store, pci::ModelPorts ports, Poller& poller);
  ~Controller() override;

  u64 bar_read(u32 bar, u64 offset, u32 size) override;
  void bar_write(u32 bar, u64 offset, u32 size, u64 value) override;
  void reset() override;
  void attach_memory(u32 bar, std::span<std::byte> memory) override;
  void detach_memory(u32 bar) override;
  pci::PollOutcome poll() override;

 private:
  enum class State : u8 {
    kDisabled,
    kReady,
    kFailed,     // CFS: nothing is served until EN falls
    kDisabling,  // EN fell; the store still works on something
  };
  enum class Shutdown : u8 { kNone, kDraining, kFlushing, kDone };

  // --- registers ---
  [[nodiscard]] u32 read_register(u64 offset) const IOMMUFD_REQUIRES(turn_);
  void write_register(u64 offset, u32 value) IOMMUFD_REQUIRES(turn_);
  void write_cc(u32 value) IOMMUFD_REQUIRES(turn_);
  void set_csts(u32 value) IOMMUFD_REQUIRES(turn_);
  // Takes over what the client has stored into mapped registers. True when there was something.
  bool absorb() IOMMUFD_REQUIRES(turn_);
  bool absorb_registers() IOMMUFD_REQUIRES(turn_);
  bool absorb_doorbells() IOMMUFD_REQUIRES(turn_);
  bool absorb_queue_addresses() IOMMUFD_REQUIRES(turn_);
  void ring(u32 doorbell, u32 value) IOMMUFD_REQUIRES(turn_);

  // --- state ---
  void follow_state() IOMMUFD_REQUIRES(turn_);
  void enable() IOMMUFD_REQUIRES(turn_);
  [[nodiscard]] bool can_enable() const IOMMUFD_REQUIRES(turn_);
  void build_admin_queues() IOMMUFD_REQUIRES(turn_);
  void follow_shutdown() IOMMUFD_REQUIRES(turn_);
  void fail(std::string_view why) IOMMUFD_REQUIRES(turn_);
  // Nothing of the client's is left. Pre: nothing is in flight.
  void forget() IOMMUFD_REQUIRES(turn_);
  void drive_line() IOMMUFD_REQUIRES(turn_);

  // --- commands ---
  // One round. True when there was something to do.
  bool serve() IOMMUFD_REQUIRES(turn_);
  bool serve_queues() IOMMUFD_REQUIRES(turn_);
  u32 serve_queue(SubmissionQueue& queue) IOMMUFD_REQUIRES(turn_);
  [[nodiscard]] bool busy() const IOMMUFD_REQUIRES(turn_) { return io_.in_flight() != 0; }

  const NvmeConfig config_;
  pci::ModelPorts ports_;
  Poller& poller_;

  Turn turn_;
  Registers regs_ IOMMUFD_GUARDED_BY(turn_);
  BarPage page_ IOMMUFD_GUARDED_BY(turn_);
  State state_ IOMMUFD_GUARDED_BY(turn_) = State::kDisabled;
  Shutdown shutdown_ IOMMUFD_GUARDED_BY(turn_) = Shutdown::kNone;
  bool line_ IOMMUFD_GUARDED_BY(turn_) = false;
  u32 next_queue_ IOMMUFD_GUARDED_BY(turn_) = 1;  // of the next round

  QueueSet queues_ IOMMUFD_GUARDED_BY(turn_);
  DataPointerWalker walker_ IOMMUFD_GUARDED_BY(turn_);
  Features features_ IOMMUFD_GUARDED_BY(turn_);
  AsyncEvents events_ IOMMUFD_GUARDED_BY(turn_);
  DoorbellBuffer doorbell_buffer_ IOMMUFD_GUARDED_BY(turn_);
  Statistics statistics_ IOMMUFD_GUARDED_BY(turn_);
  IoCommands io_ IOMMUFD_GUARDED_BY(turn_);
  AdminCommands admin_ IOMMUFD_GUARDED_BY(turn_);

  static constexpr u32 kFetch = 32, kRound = 256;  // commands of one queue at once, and of one round
  std::array<Sqe, kFetch> fetched_ IOMMUFD_GUARDED_BY(turn_);
};

}  // namespace iommufd::models::nvme

// SPDX-License-Identifier: BSD-3-Clause
// Intel I/OAT (CBDMA), version 3.3, one channel (spec ioat). The registers are memory (Page) that the client stores into, by
// loads and stores of its own or through bar_write(); absorb() looks at what is new, in the order that the sheet gives
// (5, poll order), and the channel then runs what is due.
//
// Invariants: everything belongs to the thread that has the turn, which gives it away after the descriptor that runs when somebody waits
// for it. DMACOUNT and CHANSTS change before the state that clients wait for is published.
//
// Lock order: turn_ (a flag, see models/turn.hpp), then kIrq through the InterruptPort and kLeaf through the Poller.
#pragma once

#include <optional>

#include "base/sync.hpp"
#include "models/ioat/engine.hpp"
#include "models/ioat/page.hpp"
#include "models/poller.hpp"
#include "models/turn.hpp"
#include "pci/device_model.hpp"

namespace iommufd::models::ioat {

struct Config {
  unsigned transfer_cap_lg2 = 20;  // most bytes of a descriptor
  u8 version = 0x33;
  OnFault on_fault = OnFault::kIgnore;
};

class Ioat final : public pci::DeviceModel {
 public:
  Ioat(const Config& config, pci::ModelPorts ports, Poller& poller);
  ~Ioat() override;

  u64 bar_read(u32 bar, u64 offset, u32 size) override IOMMUFD_EXCLUDES(turn_);
  void bar_write(u32 bar, u64 offset, u32 size, u64 value) override IOMMUFD_EXCLUDES(turn_);
  void reset() override IOMMUFD_EXCLUDES(turn_);
  void attach_memory(u32 bar, std::span<std::byte> memory) override IOMMUFD_EXCLUDES(turn_);
  void detach_memory(u32 bar) override IOMMUFD_EXCLUDES(turn_);
  void interrupts_set(pci::InterruptUse use) override IOMMUFD_EXCLUDES(turn_);
  pci::PollOutcome poll() override IOMMUFD_EXCLUDES(turn_);

 private:
  // Why the channel is halted.
  enum class Halt : u8 { kNone, kByReset, kByError };
  enum class Answer : u8 { kNothing, kWorked };

  void show_constants() IOMMUFD_REQUIRES(turn_);
  // Takes over what the client has stored.
  Answer absorb() IOMMUFD_REQUIRES(turn_);
  Answer absorb_command(bool chain_follows) IOMMUFD_REQUIRES(turn_);
  Answer absorb_chain() IOMMUFD_REQUIRES(turn_);
  void absorb_interrupt_control(u8 value) IOMMUFD_REQUIRES(turn_);
  [[nodiscard]] bool chain_is_set() const IOMMUFD_REQUIRES(turn_);
  void reset_channel() IOMMUFD_REQUIRES(turn_);
  void suspend() IOMMUFD_REQUIRES(turn_);
  void forget_ring() IOMMUFD_REQUIRES(turn_);
  // A client that asserts HALTED after its reset has seen it by now, and its next start must not see it (spec 5, race A).
  void leave_reset() IOMMUFD_REQUIRES(turn_);

  [[nodiscard]] bool runnable() const IOMMUFD_REQUIRES(turn_);
  // Runs what is due for a while.
  Answer run_due() IOMMUFD_REQUIRES(turn_);
  u32 run_next(Descriptor& descriptor) IOMMUFD_REQUIRES(turn_);
  // Makes visible what was completed, in the client's memory first.
  void publish_completed() IOMMUFD_REQUIRES(turn_);
  void fail(u32 errors) IOMMUFD_REQUIRES(turn_);
  void publish(State state) IOMMUFD_REQUIRES(turn_);
  void interrupt() IOMMUFD_REQUIRES(turn_);
  void rearm() IOMMUFD_REQUIRES(turn_);

  const Config config_;
  pci::ModelPorts ports_;
  Poller& poller_;
  Engine engine_;

  Turn turn_;
  Page page_ IOMMUFD_GUARDED_BY(turn_);

  State state_ IOMMUFD_GUARDED_BY(turn_) = State::kHalted;
  Halt halt_ IOMMUFD_GUARDED_BY(turn_) = Halt::kByReset;
  pci::Clock::time_point halted_at_ IOMMUFD_GUARDED_BY(turn_);
  pci::Clock::time_point touched_ IOMMUFD_GUARDED_BY(turn_);
  u64 first_ IOMMUFD_GUARDED_BY(turn_) = 0;            // the descriptor to begin with; 0: the one behind last_
  u64 last_ IOMMUFD_GUARDED_BY(turn_) = 0;             // the last one that is done
  u16 done_ IOMMUFD_GUARDED_BY(turn_) = 0;             // since the channel was armed
  u16 due_ IOMMUFD_GUARDED_BY(turn_) = 0;              // DMACOUNT, as seen last
  bool write_back_ IOMMUFD_GUARDED_BY(turn_) = false;  // what is done asks for a completion that is not written yet
  bool armed_ IOMMUFD_GUARDED_BY(turn_) = true;        // its interrupt
  bool pending_ IOMMUFD_GUARDED_BY(turn_) = false;     // an interrupt that was not let out
  u8 intr_ctrl_ IOMMUFD_GUARDED_BY(turn_) = 0;         // as seen last
};

}  // namespace iommufd::models::ioat

// SPDX-License-Identifier: BSD-3-Clause
// Intel I/OAT (CBDMA), version 3.3, one channel (spec ioat). The registers are memory (Page) that the client stores into, by
// loads and stores of its own or through bar_write(); absorb() looks at what is new, in the order that the sheet gives
// (5, poll order), and the channel then runs what is due.
//
// Invariants: one thread at a time runs descriptors (running_), without the lock; it looks at the registers again after each. Whoever
// else wants the device waits until that descriptor is done. DMACOUNT and CHANSTS change before the state that clients wait for
// is published.
//
// Lock order: mu_ (kModel), then kIrq through the InterruptPort and kLeaf through the Poller.
#pragma once

#include <optional>

#include "base/sync.hpp"
#include "models/ioat/engine.hpp"
#include "models/ioat/page.hpp"
#include "models/poller.hpp"
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

  u64 bar_read(u32 bar, u64 offset, u32 size) override IOMMUFD_EXCLUDES(mu_);
  void bar_write(u32 bar, u64 offset, u32 size, u64 value) override IOMMUFD_EXCLUDES(mu_);
  void reset() override IOMMUFD_EXCLUDES(mu_);
  void attach_memory(u32 bar, std::span<std::byte> memory) override IOMMUFD_EXCLUDES(mu_);
  void detach_memory(u32 bar) override IOMMUFD_EXCLUDES(mu_);
  void interrupts_set() override IOMMUFD_EXCLUDES(mu_);
  pci::PollOutcome poll() override IOMMUFD_EXCLUDES(mu_);

 private:
  // Why the channel is halted.
  enum class Halt : u8 { kNone, kByReset, kByError };
  enum class Answer : u8 { kNothing, kWorked };

  // Waits until nobody is inside the DmaPort.
  void enter() IOMMUFD_REQUIRES(mu_);
  void show_constants() IOMMUFD_REQUIRES(mu_);
  // Takes over what the client has stored.
  Answer absorb() IOMMUFD_REQUIRES(mu_);
  Answer absorb_command(bool chain_follows) IOMMUFD_REQUIRES(mu_);
  Answer absorb_chain() IOMMUFD_REQUIRES(mu_);
  void absorb_interrupt_control(u8 value) IOMMUFD_REQUIRES(mu_);
  [[nodiscard]] bool chain_is_set() const IOMMUFD_REQUIRES(mu_);
  void reset_channel() IOMMUFD_REQUIRES(mu_);
  void suspend() IOMMUFD_REQUIRES(mu_);
  void forget_ring() IOMMUFD_REQUIRES(mu_);
  // A client that asserts HALTED after its reset has seen it by now, and its next start must not see it (spec 5, race A).
  void leave_reset() IOMMUFD_REQUIRES(mu_);

  [[nodiscard]] bool runnable() const IOMMUFD_REQUIRES(mu_);
  // Runs what is due for a while.
  Answer run_due() IOMMUFD_REQUIRES(mu_);
  // `work` with the Engine, without the lock; nobody else enters meanwhile. Returns CHANERR bits.
  template <class Work>
  u32 outside(Work&& work) noexcept IOMMUFD_REQUIRES(mu_);
  u32 run_next(Descriptor& descriptor) IOMMUFD_REQUIRES(mu_);
  // Makes visible what was completed, in the client's memory first.
  void publish_completed() IOMMUFD_REQUIRES(mu_);
  void fail(u32 errors) IOMMUFD_REQUIRES(mu_);
  void publish(State state) IOMMUFD_REQUIRES(mu_);
  void interrupt() IOMMUFD_REQUIRES(mu_);
  void rearm() IOMMUFD_REQUIRES(mu_);

  const Config config_;
  pci::ModelPorts ports_;
  Poller& poller_;
  Engine engine_;  // of the thread that runs

  Mutex mu_{LockRank::kModel};
  CondVar idle_;
  Page page_ IOMMUFD_GUARDED_BY(mu_);
  bool running_ IOMMUFD_GUARDED_BY(mu_) = false;
  u32 waiting_ IOMMUFD_GUARDED_BY(mu_) = 0;

  State state_ IOMMUFD_GUARDED_BY(mu_) = State::kHalted;
  Halt halt_ IOMMUFD_GUARDED_BY(mu_) = Halt::kByReset;
  pci::Clock::time_point halted_at_ IOMMUFD_GUARDED_BY(mu_);
  pci::Clock::time_point touched_ IOMMUFD_GUARDED_BY(mu_);
  u64 first_ IOMMUFD_GUARDED_BY(mu_) = 0;            // the descriptor to begin with; 0: the one behind last_
  u64 last_ IOMMUFD_GUARDED_BY(mu_) = 0;             // the last one that is done
  u16 done_ IOMMUFD_GUARDED_BY(mu_) = 0;             // since the channel was armed
  u16 due_ IOMMUFD_GUARDED_BY(mu_) = 0;              // DMACOUNT, as seen last
  bool write_back_ IOMMUFD_GUARDED_BY(mu_) = false;  // what is done asks for a completion that is not written yet
  bool armed_ IOMMUFD_GUARDED_BY(mu_) = true;        // its interrupt
  bool pending_ IOMMUFD_GUARDED_BY(mu_) = false;     // an interrupt that was not let out
  u8 intr_ctrl_ IOMMUFD_GUARDED_BY(mu_) = 0;         // as seen last
};

}  // namespace iommufd::models::ioat

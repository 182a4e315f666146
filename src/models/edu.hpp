// SPDX-License-Identifier: BSD-3-Clause
// edu, QEMU's educational PCI device (spec edu). Its registers are reached in two ways:
//   trapped: bar_read() and bar_write() execute each access exactly;
//   mapped:  the client stores into memory that poll() looks at (EduPage); what a look cannot see is listed in the
//            README, with the reasons.
// A trapped access of a mapped device absorbs what the client has stored before, executes, and publishes the result.
//
// Invariants: at most one transfer at a time, by the thread that moved dma_ to kRunning; that thread alone touches
// buffer_ meanwhile. Nothing is locked while it is inside the DmaPort. reset() waits for it.
//
// Lock order: mu_ (kModel), then kIrq through the InterruptPort and kLeaf through the Poller.
#pragma once

#include <array>
#include <chrono>

#include "base/sync.hpp"
#include "models/edu_page.hpp"
#include "models/edu_registers.hpp"
#include "models/poller.hpp"
#include "pci/device_model.hpp"

namespace iommufd::models {

struct EduConfig {
  unsigned dma_mask_bits = 28;
  std::chrono::microseconds dma_delay{0};
  bool last_buffer_byte_usable = true;  // false: QEMU 7.2, whose bound is off by one
};

class Edu final : public pci::DeviceModel {
 public:
  Edu(const EduConfig& config, pci::ModelPorts ports, Poller& poller);
  ~Edu() override;

  u64 bar_read(u32 bar, u64 offset, u32 size) override;
  void bar_write(u32 bar, u64 offset, u32 size, u64 value) override;
  void reset() override;
  void attach_memory(u32 bar, std::span<std::byte> memory) override;
  void detach_memory(u32 bar) override;
  pci::PollOutcome poll() override;

 private:
  enum class Dma : u8 { kIdle, kDue, kRunning };

  u64 read_register(u64 offset) const IOMMUFD_REQUIRES(mu_);
  void write_register(u64 offset, u64 value) IOMMUFD_REQUIRES(mu_);
  // Takes over what the client has stored into mapped registers. True when there was something.
  bool absorb() IOMMUFD_REQUIRES(mu_);
  bool absorb_dma_command() IOMMUFD_REQUIRES(mu_);
  void absorb_operand(u64 offset, u64& reg) IOMMUFD_REQUIRES(mu_);
  // What the client sees in mapped registers.
  void show32(u64 offset, u32 value) IOMMUFD_REQUIRES(mu_);
  void show64(u64 offset, u64 value) IOMMUFD_REQUIRES(mu_);

  // `shown` is what the mapped register holds now.
  void compute_factorial(u32 n, u32 shown) IOMMUFD_REQUIRES(mu_);
  void raise(u32 bits) IOMMUFD_REQUIRES(mu_);
  void acknowledge(u32 bits) IOMMUFD_REQUIRES(mu_);
  void start_dma(u64 command) IOMMUFD_REQUIRES(mu_);
  // Runs the transfer if it is due; drops the lock around it.
  void run_due_dma() IOMMUFD_REQUIRES(mu_);
  void transfer(const EduRegisters& snapshot) noexcept IOMMUFD_EXCLUDES(mu_);

  const EduConfig config_;
  const u64 dma_mask_;
  pci::ModelPorts ports_;
  Poller& poller_;

  Mutex mu_{LockRank::kModel};
  CondVar dma_done_;
  EduRegisters regs_ IOMMUFD_GUARDED_BY(mu_);
  EduPage page_ IOMMUFD_GUARDED_BY(mu_);
  Dma dma_ IOMMUFD_GUARDED_BY(mu_) = Dma::kIdle;
  pci::Clock::time_point dma_due_ IOMMUFD_GUARDED_BY(mu_);
  u32 resets_waiting_ IOMMUFD_GUARDED_BY(mu_) = 0;
  std::array<std::byte, edu::kBufferSize> buffer_{};  // of the running transfer, or of reset()
};

}  // namespace iommufd::models

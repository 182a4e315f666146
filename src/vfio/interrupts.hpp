// SPDX-License-Identifier: BSD-3-Clause
// Interrupts of one device on their way to its client (spec vfio-device 12, 13): which kind is active, which eventfd
// stands for which vector, what is masked.
//
// Invariants: at most one of INTx, MSI and MSI-X is active. A delivered INTx is masked until the client unmasks it; if
// its line is still high then, it is delivered again.
//
// Lock order: gate_ (kVfioDevice) makes changes one at a time; it may be held while the function's MSI is switched
// (kPci). mu_ (kIrq) guards the state and is held for deliveries, which are writes that never block. Eventfds that are
// dropped are declared before the lock, so that they close after it.
#pragma once

#include <atomic>
#include <optional>
#include <vector>

#include "base/event_watcher.hpp"
#include "base/result.hpp"
#include "base/sync.hpp"
#include "pci/function.hpp"
#include "vfio/irq.hpp"

namespace iommufd::vfio {

class Interrupts final : public pci::InterruptSink {
 public:
  // All outlive it. The caller connects it to the function. `changes`, if there is one, is counted up when the vectors of messages
  // come, grow or go.
  Interrupts(pci::Function& function, EventWatcher& watcher, std::atomic<u64>* changes = nullptr);
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  // What GET_IRQ_INFO says. ERR has no interrupt on a conventional function. MSI-X can grow while it is enabled: the machine
  // allocates its vectors one by one, as an x86 kernel does.
  [[nodiscard]] IrqInfo info(IrqIndex index) const;

  // The vectors that the host has given to messages.
  struct Messages {
    u32 vectors = 0;  // 0: none are enabled
    bool msix = false;
    bool were_any = false;  // since a driver took the function
  };
  [[nodiscard]] Messages messages() IOMMUFD_EXCLUDES(mu_);
  // A driver takes the function.
  void start_anew() { had_messages_.store(false, std::memory_order_relaxed); }

  // SET_IRQS. 0; or how many vectors there are, when more were asked for: then none is enabled. Errors: kNoTty (no such action), kInval, kBusy,
  // kNoDev, kRange, those of the eventfds and of whoever gives vectors out.
  Result<u32> set(IrqRequest request) IOMMUFD_EXCLUDES(gate_, mu_);
  // The host wants the device back: signals REQ. False: no eventfd is armed.
  bool request_release() IOMMUFD_EXCLUDES(mu_);
  // The device closes: everything off, all eventfds dropped.
  void teardown() IOMMUFD_EXCLUDES(gate_, mu_);

  void line(pci::Level level) override IOMMUFD_EXCLUDES(mu_);
  void message(u32 vector) override IOMMUFD_EXCLUDES(mu_);
  void intx(pci::Intx state) override IOMMUFD_EXCLUDES(mu_);

 private:
  enum class Mode : u8 { kNone, kIntx, kMsi, kMsix };
  using Trigger = std::optional<Eventfd>;
  // Of kMsi and kMsix.
  static pci::MessageKind kind_of(Mode mode);

  Result<u32> change(IrqRequest& request) IOMMUFD_REQUIRES(gate_);
  Result<void> mask_intx(const IrqRequest& request) IOMMUFD_REQUIRES(gate_);
  Result<void> unmask_intx(IrqRequest& request) IOMMUFD_REQUIRES(gate_);
  Result<void> watch_unmask(IrqEventfd& element) IOMMUFD_REQUIRES(gate_);
  Result<void> trigger_intx(IrqRequest& request) IOMMUFD_REQUIRES(gate_);
  // MSI and MSI-X; `kind` is the one that is asked for.
  Result<u32> trigger_messages(Mode kind, IrqRequest& request) IOMMUFD_REQUIRES(gate_);
  Result<void> trigger_single(IrqRequest& request) IOMMUFD_REQUIRES(gate_);
  // As set().
  Result<u32> enable_messages(Mode kind, u32 vectors) IOMMUFD_REQUIRES(gate_);
  Result<void> set_block(IrqRequest& request) IOMMUFD_REQUIRES(gate_);
  Result<void> set_vector(u32 vector, IrqEventfd& element) IOMMUFD_REQUIRES(gate_);
  void drop_vector(u32 vector) IOMMUFD_REQUIRES(gate_);
  void disable_messages() IOMMUFD_REQUIRES(gate_);
  void disable_intx() IOMMUFD_REQUIRES(gate_);

  // Unmasks unless INTx is disabled in the command register; a line that is still high is delivered again.
  void unmask() IOMMUFD_EXCLUDES(mu_);
  void unmask_locked() IOMMUFD_REQUIRES(mu_);
  void deliver_intx_locked() IOMMUFD_REQUIRES(mu_);
  void signal_intx_locked() IOMMUFD_REQUIRES(mu_);
  [[nodiscard]] Mode mode() IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] pci::InterruptUse use() IOMMUFD_EXCLUDES(mu_);
  void count_change() {
    if (changes_ != nullptr) changes_->fetch_add(1, std::memory_order_release);
  }
  // The eventfd of ERR or REQ.
  [[nodiscard]] Trigger& single_locked(IrqIndex index) IOMMUFD_REQUIRES(mu_) {
    return index == IrqIndex::kErr ? error_ : request_;
  }

  pci::Function& function_;
  EventWatcher& watcher_;
  std::atomic<u64>* const changes_;

  Mutex gate_{LockRank::kVfioDevice};
  std::optional<EventWatcher::WatchId> unmask_watch_ IOMMUFD_GUARDED_BY(gate_);

  Mutex mu_{LockRank::kIrq};
  Mode mode_ IOMMUFD_GUARDED_BY(mu_) = Mode::kNone;
  pci::Intx intx_state_ IOMMUFD_GUARDED_BY(mu_) = pci::Intx::kEnabled;  // as the client's command register says
  bool intx_masked_ IOMMUFD_GUARDED_BY(mu_) = false;
  Trigger intx_ IOMMUFD_GUARDED_BY(mu_);
  std::atomic<bool> had_messages_{false};
  std::vector<Trigger> vectors_ IOMMUFD_GUARDED_BY(mu_);  // of MSI or MSI-X, one per allocated vector
  Trigger error_ IOMMUFD_GUARDED_BY(mu_);
  Trigger request_ IOMMUFD_GUARDED_BY(mu_);
};

}  // namespace iommufd::vfio

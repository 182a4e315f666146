// SPDX-License-Identifier: BSD-3-Clause
// A PCI function of the machine: configuration space, BARs, interrupts and the model behind them. It knows two views of
// its config space: the hardware's (what the sysfs file `config` shows) and, while VFIO has the function open, the
// virtualised one of a VFIO client.
//
// Invariants: the DmaPort's bus mastering follows bit 2 of the hardware's command register; a message reaches the sink
// only while MSI is enabled in the hardware's config space and bus mastering is on.
//
// Lock order: mu_ (kPci) guards config space and may be held while the DmaPort's bus mastering is switched and while
// the InterruptSink is told (kIrq). The model is always called without it.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/result.hpp"
#include "base/sync.hpp"
#include "base/types.hpp"
#include "pci/config_space.hpp"
#include "pci/device_model.hpp"
#include "pci/function_spec.hpp"
#include "pci/virtual_config.hpp"

namespace iommufd::pci {

class Function final : private InterruptPort {
 public:
  // `note` gets one line per remark of the model, with the BDF in front. `dma` outlives the function.
  Function(const Placement& placement, const FunctionSpec& spec, iommu::DmaPort& dma,
           std::function<void(std::string_view)> note, const ModelFactory& factory);
  ~Function();
  Function(const Function&) = delete;
  Function& operator=(const Function&) = delete;

  // Once, before the first enable(). The sink outlives the function's use.
  void connect(InterruptSink& sink) { sink_.store(&sink, std::memory_order_release); }

  // --- what a VFIO driver does with the function ---
  // First open: bus mastering off, decoding on, reset, INTx enabled at the function, shadow built (vfio-device 5).
  void enable() IOMMUFD_EXCLUDES(mu_);
  // Close: bus mastering off, config space as it was at enable(), reset (vfio-device 19). Interrupts are torn down
  // between the two halves: no DMA that was started before touches memory once finish_disable() returns.
  void begin_disable() IOMMUFD_EXCLUDES(mu_);
  void finish_disable() IOMMUFD_EXCLUDES(mu_);
  // Function reset; config space keeps its state. Pre: resettable().
  void reset();

  // The virtualised config space; [offset, offset + size) is inside it. Pre: enabled.
  void config_read(u32 offset, std::span<std::byte> out) IOMMUFD_EXCLUDES(mu_);
  void config_write(u32 offset, std::span<const std::byte> in) IOMMUFD_EXCLUDES(mu_);

  // Access through a BAR, split into naturally aligned operations. [offset, offset + size) is inside the BAR.
  // Errors: kIo when decoding is off (vfio-device 9).
  Result<void> bar_read(u32 bar, u64 offset, std::span<std::byte> out);
  Result<void> bar_write(u32 bar, u64 offset, std::span<const std::byte> in);

  // Messages: the host side of MSI set-up. 2^vectors_lg2 vectors, MSI enabled in hardware.
  void enable_msi(unsigned vectors_lg2) IOMMUFD_EXCLUDES(mu_);
  void disable_msi() IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] Level line() const { return line_.load(std::memory_order_acquire); }

  // The function answers accesses to its memory BARs.
  [[nodiscard]] bool decodes_memory() const;
  // Where the BAR is on the bus; 0 where there is none.
  [[nodiscard]] u64 bar_base(u32 bar) const { return placement_.bar_base[bar]; }

  [[nodiscard]] DeviceModel& model() { return *model_; }
  PollOutcome poll() { return model_->poll(); }

  // --- what it is ---
  [[nodiscard]] const FunctionSpec& spec() const { return spec_; }
  [[nodiscard]] const Bdf& bdf() const { return placement_.bdf; }
  [[nodiscard]] u32 irq() const { return placement_.irq; }
  [[nodiscard]] u32 config_size() const { return config_size_; }
  [[nodiscard]] bool resettable() const { return spec_.reset == ResetKind::kFunction; }
  // Nothing above a root bus can reset it.
  [[nodiscard]] bool on_root_bus() const { return placement_.bdf.bus == 0; }

  // --- what sysfs shows of it ---
  // The hardware's config space, all of it (an unprivileged reader sees the first 64 bytes).
  [[nodiscard]] std::vector<u8> sysfs_config() IOMMUFD_EXCLUDES(mu_);
  // What a write to it does: bits that hardware can change, in aligned accesses of 4, 2 and 1 bytes, with all that follows. Pre:
  // [offset, offset + size) is inside the space.
  void sysfs_write_config(u32 offset, std::span<const std::byte> in) IOMMUFD_EXCLUDES(mu_);
  // The lines of `resource`: 6 BARs, ROM, 6 of SR-IOV.
  static constexpr std::size_t kResourceCount = 13;
  [[nodiscard]] std::array<Resource, kResourceCount> sysfs_resources() const;

 private:
  bool message_signalled() const override { return msi_enabled_.load(std::memory_order_acquire); }
  void send_message(u32 vector) override;
  void set_line(Level level) override;

  // After any write to the hardware's config space.
  void follow_hardware() IOMMUFD_REQUIRES(mu_);
  void set_command(u16 command) IOMMUFD_REQUIRES(mu_);
  [[nodiscard]] bool decodes(u32 bar) const;
  // Width of the next operation of a BAR access.
  [[nodiscard]] u32 operation(u32 bar, u64 offset, std::size_t left) const;

  const Placement placement_;
  const FunctionSpec spec_;
  iommu::DmaPort& dma_;
  std::atomic<InterruptSink*> sink_{nullptr};

  // Copies of what hardware_ holds, for paths that may not take mu_: BAR accesses and interrupts.
  std::atomic<u16> command_{0};
  std::atomic<bool> msi_enabled_{false};
  std::atomic<u32> msi_vectors_{1};
  std::atomic<Level> line_{Level::kLow};

  Mutex mu_{LockRank::kPci};
  ConfigSpace hardware_ IOMMUFD_GUARDED_BY(mu_);
  std::optional<ConfigSpace> saved_ IOMMUFD_GUARDED_BY(mu_);      // at enable(), for finish_disable()
  std::optional<VirtualConfig> virtual_ IOMMUFD_GUARDED_BY(mu_);  // while enabled
  const u32 config_size_;

  std::unique_ptr<DeviceModel> model_;  // last: it uses all of the above
};

}  // namespace iommufd::pci

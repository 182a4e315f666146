// SPDX-License-Identifier: BSD-3-Clause
// A PCI function of the machine: configuration space, BARs, interrupts and the model behind them. It knows two views of
// its config space: the hardware's (what the sysfs file `config` shows) and, while VFIO has the function open, the
// virtualised one of a VFIO client.
//
// Invariants: the DmaPort's bus mastering follows bit 2 of the hardware's command register while the function is in D0, and is
// off in D3hot; a message reaches the sink only while MSI or MSI-X is enabled in the hardware's config space, bus mastering is
// on and its vector is not masked. BARs answer while decoding is on, in D0.
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
#include "pci/device_model.hpp"
#include "pci/function_spec.hpp"
#include "pci/hardware_config.hpp"
#include "pci/message_masks.hpp"
#include "pci/virtual_config.hpp"

namespace iommufd::pci {

class Function final : private InterruptPort {
 public:
  // `note` gets one line per remark of the model, with the BDF in front. `dma` outlives the function.
  // `hardware` is a config space that is there already, and agrees with `spec`; null: it is simulated.
  Function(const Placement& placement, const FunctionSpec& spec, iommu::DmaPort& dma,
           std::function<void(std::string_view)> note, const ModelFactory& factory,
           std::unique_ptr<HardwareConfig> hardware = nullptr);
  ~Function();
  Function(const Function&) = delete;
  Function& operator=(const Function&) = delete;

  // Once, before the first enable(). The sink outlives the function's use.
  void connect(InterruptSink& sink) { sink_.store(&sink, std::memory_order_release); }

  // --- what a VFIO driver does with the function ---
  // First open: D0, bus mastering off, decoding on, reset, INTx enabled at the function, shadow built (vfio-device 5).
  void enable() IOMMUFD_EXCLUDES(mu_);
  // Close: bus mastering off, config space as it was at enable(), reset (vfio-device 19). Interrupts are torn down
  // between the two halves: no DMA that was started before touches memory once finish_disable() returns.
  void begin_disable() IOMMUFD_EXCLUDES(mu_);
  void finish_disable() IOMMUFD_EXCLUDES(mu_);
  // Function reset, in D0; config space keeps its state otherwise. Pre: resettable(), or it comes from above.
  void reset() IOMMUFD_EXCLUDES(mu_);

  // The virtualised config space; [offset, offset + size) is inside it. Pre: enabled. A write may reset the function, or change
  // its power state: what comes back from a D3hot that keeps nothing has its config space restored.
  void config_read(u32 offset, std::span<std::byte> out) IOMMUFD_EXCLUDES(mu_);
  void config_write(u32 offset, std::span<const std::byte> in) IOMMUFD_EXCLUDES(mu_);

  // Access through a BAR, split into naturally aligned operations. [offset, offset + size) is inside the BAR.
  // The table of MSI-X reads all ones, and writes to it are dropped (vfio-device 9). Errors: kIo when decoding is off, or the
  // function is in D3hot.
  Result<void> bar_read(u32 bar, u64 offset, std::span<std::byte> out);
  Result<void> bar_write(u32 bar, u64 offset, std::span<const std::byte> in);
  // The expansion ROM; past its images, all ones. [offset, offset + size) is inside its BAR. Errors: as of a BAR.
  Result<void> rom_read(u64 offset, std::span<std::byte> out) const;

  // Messages: the host side of MSI set-up. 2^vectors_lg2 vectors, MSI enabled in hardware.
  void enable_msi(unsigned vectors_lg2) IOMMUFD_EXCLUDES(mu_);
  void disable_msi() IOMMUFD_EXCLUDES(mu_);
  // The same of MSI-X: all vectors are masked then. A message that was pending is sent when its vector is unmasked.
  void enable_msix() IOMMUFD_EXCLUDES(mu_);
  void disable_msix() IOMMUFD_EXCLUDES(mu_);
  void mask_msix(u32 vector, Masked masked);
  [[nodiscard]] Level line() const { return line_.load(std::memory_order_acquire); }

  // After SET_IRQS. No lock is held.
  void interrupts_set(InterruptUse use) { model_->interrupts_set(use); }
  // Before enable_msi() and disable_msi(), or those of MSI-X (DeviceModel). No lock of the function is held.
  Result<u32> messages_begin(MessageKind kind, u32 needed) { return model_->messages_begin(kind, needed); }
  void messages_end(MessageKind kind) { model_->messages_end(kind); }

  // How often it has been reset, on whose wish soever.
  [[nodiscard]] u64 resets() const { return resets_.load(std::memory_order_acquire); }
  // The function answers accesses to its memory BARs.
  [[nodiscard]] bool decodes_memory() const;
  // Where the BAR is on the bus; 0 where there is none.
  [[nodiscard]] u64 bar_base(u32 bar) const { return placement_.bar_base[bar]; }
  // Other devices of the machine reach its BARs there.
  [[nodiscard]] bool seen_by_peers() const { return placement_.seen_by_peers; }

  [[nodiscard]] DeviceModel& model() { return *model_; }
  PollOutcome poll() { return model_->poll(); }

  // --- what it is ---
  [[nodiscard]] const FunctionSpec& spec() const { return spec_; }
  [[nodiscard]] const Bdf& bdf() const { return placement_.bdf; }
  [[nodiscard]] u32 irq() const { return placement_.irq; }
  [[nodiscard]] u32 config_size() const { return config_size_; }
  [[nodiscard]] bool resettable() const { return spec_.reset == ResetKind::kFunction; }
  // Nothing above a root bus can reset it.
  [[nodiscard]] bool on_root_bus() const { return placement_.buses.empty(); }
  // Does a reset of that bus reach it?
  [[nodiscard]] bool is_below(const Bdf& bus) const;
  // The bridges above it, from the root bus down.
  [[nodiscard]] std::span<const Bdf> bridges() const { return placement_.bridges; }
  // Length of the images in the expansion ROM; 0: there are none.
  [[nodiscard]] u64 rom_image_size() const { return rom_image_size_; }
  // Does [offset, offset + size) of a BAR touch the table of MSI-X?
  [[nodiscard]] bool touches_msix_table(u32 bar, u64 offset, u64 size) const;

  // --- what sysfs shows of it ---
  // The hardware's config space, all of it (an unprivileged reader sees the first 64 bytes).
  [[nodiscard]] std::vector<u8> sysfs_config() IOMMUFD_EXCLUDES(mu_);
  // What a write to it does: bits that hardware can change, in aligned accesses of 4, 2 and 1 bytes, with all that follows. Pre:
  // [offset, offset + size) is inside the space.
  void sysfs_write_config(u32 offset, std::span<const std::byte> in) IOMMUFD_EXCLUDES(mu_);
  // The images of the expansion ROM, once they are enabled. Errors: kInval (not enabled), kIo (there are none).
  [[nodiscard]] Result<std::span<const u8>> sysfs_rom() const;
  void sysfs_enable_rom(bool on) { rom_enabled_.store(on); }
  // The lines of `resource`: 6 BARs, ROM, 6 of SR-IOV.
  static constexpr std::size_t kResourceCount = 13;
  [[nodiscard]] std::array<Resource, kResourceCount> sysfs_resources() const;

 private:
  enum class Messages : u8 { kOff, kMsi, kMsix };

  bool message_signalled() const override { return messages_.load(std::memory_order_acquire) != Messages::kOff; }
  void send_message(u32 vector) override;
  void set_line(Level level) override;

  // After any write to the hardware's config space.
  void follow_hardware() IOMMUFD_REQUIRES(mu_);
  void set_command(u16 command) IOMMUFD_REQUIRES(mu_);
  void follow_messages() IOMMUFD_REQUIRES(mu_);
  void set_msix_control(u16 control) IOMMUFD_REQUIRES(mu_);
  // Registers that hardware keeps up by itself.
  void show_live_registers() IOMMUFD_REQUIRES(mu_);
  void deliver(u32 vector);
  [[nodiscard]] Result<void> check_decoding(u16 bit) const;
  [[nodiscard]] u16 decoding_bit(u32 bar) const;
  // The next operation of a BAR access: who answers, and its width.
  enum class Target : u8 { kModel, kTable, kPending };
  struct Operation {
    Target target;
    u32 width;
  };
  [[nodiscard]] Operation operation(u32 bar, u64 offset, std::size_t left) const;
  [[nodiscard]] u64 pending_bits(u64 offset, u32 width) const;

  const Placement placement_;
  const FunctionSpec spec_;
  iommu::DmaPort& dma_;
  std::atomic<InterruptSink*> sink_{nullptr};

  // Copies of what hardware_ holds, for paths that may not take mu_: BAR accesses and interrupts.
  std::atomic<u16> decoding_{0};         // the decoding bits of the command register; none in D3hot
  std::atomic<bool> bus_master_{false};  // never in D3hot
  std::atomic<u64> resets_{0};
  std::atomic<Messages> messages_{Messages::kOff};
  std::atomic<u32> msi_vectors_{1};
  std::atomic<Level> line_{Level::kLow};
  MessageMasks msi_masks_, msix_masks_;

  Mutex mu_{LockRank::kPci};
  const std::unique_ptr<HardwareConfig> hardware_ IOMMUFD_PT_GUARDED_BY(mu_);
  std::vector<u8> saved_ IOMMUFD_GUARDED_BY(mu_);                 // at enable(), for finish_disable()
  std::optional<VirtualConfig> virtual_ IOMMUFD_GUARDED_BY(mu_);  // while enabled
  const u32 config_size_;
  const u64 rom_image_size_;
  std::atomic<bool> rom_enabled_{false};  // for readers of sysfs

  std::unique_ptr<DeviceModel> model_;  // last: it uses all of the above
};

}  // namespace iommufd::pci

// SPDX-License-Identifier: BSD-3-Clause
#include "pci/function.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/assert.hpp"
#include "base/explain.hpp"
#include "pci/config_registers.hpp"
#include "pci/config_space.hpp"
#include "pci/rom.hpp"

namespace iommufd::pci {
namespace {

// Bits of struct resource's flags, as the file prints them (Linux include/linux/ioport.h); the low nibble is the BAR's.
constexpr u64 kResourceIo = 0x100, kResourceMemory = 0x200, kResourcePrefetch = 0x2000, kResourceSizeAligned = 0x40000,
              kResourceMemory64 = 0x100000, kResourceReadOnly = 0x4000;

u32 msi_vectors(const FunctionSpec& spec) { return spec.msi ? 1U << spec.msi->vectors_lg2 : 0; }

}  // namespace

Function::Function(const Placement& placement, const FunctionSpec& spec, iommu::DmaPort& dma,
                   std::function<void(std::string_view)> note, const ModelFactory& factory,
                   std::unique_ptr<HardwareConfig> hardware)
    : placement_(placement),
      spec_(spec),
      dma_(dma),
      msi_masks_(msi_vectors(spec), Masked::kNo),
      msix_masks_(spec.msix ? spec.msix->vectors : 0, Masked::kYes),
      hardware_(hardware ? std::move(hardware) : std::make_unique<ConfigSpace>(function_config(spec, placement))),
      config_size_(hardware_->size()),
      rom_image_size_(spec.rom ? pci::rom_image_size(*spec.rom) : 0) {
  {
    const MutexLock lock(mu_);
    dma_.set_bus_master(false);
    follow_hardware();
  }
  auto prefixed = [note = std::move(note), name = placement.bdf.str()](std::string_view text) {
    note(fmt::format("{}: {}", name, text));
  };
  model_ = factory(ModelPorts{dma, *this, std::move(prefixed)});
}

Function::~Function() = default;

void Function::enable() {
  {
    const MutexLock lock(mu_);
    bool io = false;
    for (const BarSpec& bar : spec_.bars) io |= bar.kind == BarKind::kIo;
    const u16 decode = reg::kCommandMemory | (io ? reg::kCommandIo : u16{0});
    hardware_->set_power(PowerState::kD0);
    const u16 off = reg::kCommandMaster | reg::kCommandIntxDisable;
    set_command(static_cast<u16>((hardware_->command() & ~off) | decode));
  }
  if (resettable()) reset();
  const MutexLock lock(mu_);
  saved_ = hardware_->bytes();
  virtual_.emplace(*hardware_, spec_);
}

void Function::begin_disable() {
  const MutexLock lock(mu_);
  set_command(static_cast<u16>(hardware_->command() & ~reg::kCommandMaster));
}

void Function::finish_disable() {
  {
    const MutexLock lock(mu_);
    IOMMUFD_ASSERT(!saved_.empty());
    hardware_->restore(saved_);
    saved_.clear();
    virtual_.reset();
    follow_hardware();
  }
  // Also where VFIO could not reset the function: a model must not keep the DMA or the secrets of its last user.
  model_->reset();
}

void Function::reset() {
  resets_.fetch_add(1, std::memory_order_acq_rel);
  {
    const MutexLock lock(mu_);
    hardware_->set_power(PowerState::kD0);
    follow_hardware();
  }
  model_->reset();
  msi_masks_.drop_pending();
  msix_masks_.drop_pending();
}

void Function::config_read(u32 offset, std::span<std::byte> out) {
  const MutexLock lock(mu_);
  IOMMUFD_ASSERT(virtual_.has_value());
  show_live_registers();
  virtual_->read(*hardware_, offset, out);
}

void Function::config_write(u32 offset, std::span<const std::byte> in) {
  bool reset_now = false;
  {
    const MutexLock lock(mu_);
    IOMMUFD_ASSERT(virtual_.has_value());
    const Intx before = virtual_->intx();
    const PowerState power = hardware_->power();
    const ConfigEffects effects = virtual_->write(*hardware_, offset, in);
    if (effects.power) hardware_->set_power(*effects.power);
    follow_hardware();
    reset_now = effects.reset;
    const bool woken = power == PowerState::kD3hot && hardware_->power() == PowerState::kD0;
    if (woken && spec_.pm && spec_.pm->state == StateInD3::kLost) reset_now = true;
    const Intx after = virtual_->intx();
    InterruptSink* sink = sink_.load(std::memory_order_acquire);
    if (after != before && sink != nullptr) sink->intx(after);
  }
  if (reset_now) reset();
}

void Function::enable_msi(unsigned vectors_lg2) {
  const MutexLock lock(mu_);
  const auto msi = hardware_->find(reg::kCapMsi);
  IOMMUFD_ASSERT(msi.has_value() && virtual_.has_value());
  const u32 at = *msi + reg::kMsiFlags;
  hardware_->write(at, 2, reg::kMsiEnable | vectors_lg2 << reg::kMsiEnabledShift);
  virtual_->set_msi(vectors_lg2);
  follow_hardware();
}

void Function::disable_msi() {
  const MutexLock lock(mu_);
  const auto msi = hardware_->find(reg::kCapMsi);
  IOMMUFD_ASSERT(msi.has_value() && virtual_.has_value());
  hardware_->write(*msi + reg::kMsiFlags, 2, 0);
  virtual_->set_msi(std::nullopt);
  follow_hardware();
}

void Function::enable_msix() {
  const MutexLock lock(mu_);
  set_msix_control(reg::kMsixEnable);
}

void Function::disable_msix() {
  const MutexLock lock(mu_);
  set_msix_control(0);
  for (u32 i = 0; i < msix_masks_.size(); ++i) [[maybe_unused]]
    const bool none = msix_masks_.set(i, Masked::kYes);
  msix_masks_.drop_pending();
}

void Function::mask_msix(u32 vector, Masked masked) {
  if (msix_masks_.set(vector, masked)) deliver(vector);
}

void Function::set_msix_control(u16 control) {
  const auto msix = hardware_->find(reg::kCapMsix);
  IOMMUFD_ASSERT(msix.has_value());
  hardware_->write(*msix + reg::kMsixControl, 2, control);
  follow_hardware();
}

std::vector<u8> Function::sysfs_config() {
  const MutexLock lock(mu_);
  show_live_registers();
  return hardware_->bytes();
}

void Function::sysfs_write_config(u32 offset, std::span<const std::byte> in) {
  bool reset_now = false;
  {
    const MutexLock lock(mu_);
    const PowerState power = hardware_->power();
    write_hardware(*hardware_, offset, in);
    const bool woken = power == PowerState::kD3hot && hardware_->power() == PowerState::kD0;
    reset_now = hardware_->take_reset_request() || (woken && spec_.pm && spec_.pm->state == StateInD3::kLost);
    if (reset_now) hardware_->reset();  // nobody has saved it, and nobody restores it
    follow_hardware();
  }
  if (reset_now) reset();
}

std::array<Resource, Function::kResourceCount> Function::sysfs_resources() const {
  std::array<Resource, kResourceCount> out{};
  for (u32 i = 0; i < kBarCount; ++i) {
    const BarSpec& bar = spec_.bars[i];
    if (bar.kind == BarKind::kNone) continue;
    u64 flags = kResourceSizeAligned;
    if (bar.kind == BarKind::kIo) {
      flags |= kResourceIo | reg::kBarIo;
    } else {
      flags |= kResourceMemory;
      if (bar.kind == BarKind::kMemory64) flags |= kResourceMemory64 | reg::kBarMemory64;
      if (bar.prefetch == Prefetch::kYes) flags |= kResourcePrefetch | reg::kBarPrefetch;
    }
    out[i] = {placement_.bar_base[i], placement_.bar_base[i] + bar.size - 1, flags};
  }
  if (const u64 size = rom_bar_size(spec_); size != 0)
    out[kBarCount] = {placement_.rom_base, placement_.rom_base + size - 1,
                      kResourceSizeAligned | kResourceReadOnly | kResourceMemory};
  return out;
}

bool Function::is_below(const Bdf& bus) const {
  return placement_.bdf.domain == bus.domain && std::ranges::find(placement_.buses, bus.bus) != placement_.buses.end();
}

void Function::send_message(u32 vector) {
  if (!bus_master_.load(std::memory_order_acquire)) return;
  switch (messages_.load(std::memory_order_acquire)) {
    case Messages::kOff: return;
    case Messages::kMsi:
      // A function that was granted fewer vectors than it has uses the low bits (PCI 3.0, 6.8.3.1).
      vector &= msi_vectors_.load(std::memory_order_acquire) - 1;
      if (msi_masks_.raise(vector)) deliver(vector);
      return;
    case Messages::kMsix:
      if (vector < msix_masks_.size() && msix_masks_.raise(vector)) deliver(vector);
      return;
  }
}

void Function::deliver(u32 vector) {
  InterruptSink* sink = sink_.load(std::memory_order_acquire);
  if (sink != nullptr) sink->message(vector);
}

void Function::set_line(Level level) {
  if (line_.exchange(level, std::memory_order_acq_rel) == level) return;
  InterruptSink* sink = sink_.load(std::memory_order_acquire);
  if (sink != nullptr) sink->line(level);
}

void Function::set_command(u16 command) {
  hardware_->write(reg::kCommand, 2, command);
  follow_hardware();
}

void Function::follow_hardware() {
  const u16 command = hardware_->power() == PowerState::kD0 ? hardware_->command() : u16{0};
  decoding_.store(command & (reg::kCommandIo | reg::kCommandMemory), std::memory_order_release);
  const bool master = (command & reg::kCommandMaster) != 0;
  if (bus_master_.exchange(master, std::memory_order_acq_rel) != master) dma_.set_bus_master(master);
  follow_messages();
}

void Function::follow_messages() {
  Messages now = Messages::kOff;
  if (const auto msi = hardware_->find(reg::kCapMsi)) {
    const u32 flags = hardware_->read(*msi + reg::kMsiFlags, 2);
    const u32 granted = 1U << ((flags & reg::kMsiEnabledMask) >> reg::kMsiEnabledShift);
    msi_vectors_.store(std::min(granted, msi_masks_.size()), std::memory_order_release);
    if ((flags & reg::kMsiEnable) != 0) now = Messages::kMsi;
    if ((flags & reg::kMsiMaskable) != 0) {
      const u32 mask = hardware_->read(*msi + reg::msi_mask(flags), 4);
      for (u32 i = 0; i < msi_masks_.size(); ++i)
        if (msi_masks_.set(i, (mask >> i & 1) != 0 ? Masked::kYes : Masked::kNo)) deliver(i);
    }
  }
  if (const auto msix = hardware_->find(reg::kCapMsix)) {
    const u32 control = hardware_->read(*msix + reg::kMsixControl, 2);
    if ((control & reg::kMsixEnable) != 0) now = Messages::kMsix;
    const bool masked = (control & reg::kMsixFunctionMask) != 0;
    const bool changed = masked != msix_masks_.all_masked();
    if (changed) msix_masks_.set_all(masked ? Masked::kYes : Masked::kNo);
    for (u32 i = 0; changed && !masked && i < msix_masks_.size(); ++i)
      if (msix_masks_.take(i)) deliver(i);
  }
  messages_.store(now, std::memory_order_release);
}

bool Function::decodes_memory() const { return (decoding_.load(std::memory_order_acquire) & reg::kCommandMemory) != 0; }

void Function::show_live_registers() {
  hardware_->show_line(line());
  if (spec_.msi && spec_.msi->mask == VectorMask::kYes)
    hardware_->show(*hardware_->find(reg::kCapMsi) + reg::kMsiPending64, 4, static_cast<u32>(msi_masks_.pending(0)));
}

}  // namespace iommufd::pci

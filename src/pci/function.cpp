// SPDX-License-Identifier: BSD-3-Clause
#include "pci/function.hpp"

#include <fmt/format.h>

#include "base/assert.hpp"
#include "base/explain.hpp"
#include "pci/config_registers.hpp"

namespace iommufd::pci {
namespace {

// Bits of struct resource's flags, as the file prints them (Linux include/linux/ioport.h); the low nibble is the BAR's.
constexpr u64 kResourceIo = 0x100, kResourceMemory = 0x200, kResourcePrefetch = 0x2000, kResourceSizeAligned = 0x40000,
              kResourceMemory64 = 0x100000;

}  // namespace

Function::Function(const Placement& placement, const FunctionSpec& spec, iommu::DmaPort& dma,
                   std::function<void(std::string_view)> note, const ModelFactory& factory)
    : placement_(placement), spec_(spec), dma_(dma), hardware_(spec, placement), config_size_(hardware_.size()) {
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
    const u16 off = reg::kCommandMaster | reg::kCommandIntxDisable;
    set_command(static_cast<u16>((hardware_.command() & ~off) | decode));
  }
  if (resettable()) reset();
  const MutexLock lock(mu_);
  saved_.emplace(hardware_);
  virtual_.emplace(hardware_, spec_);
}

void Function::begin_disable() {
  const MutexLock lock(mu_);
  set_command(static_cast<u16>(hardware_.command() & ~reg::kCommandMaster));
}

void Function::finish_disable() {
  {
    const MutexLock lock(mu_);
    IOMMUFD_ASSERT(saved_.has_value());
    hardware_.restore(*saved_);
    saved_.reset();
    virtual_.reset();
    follow_hardware();
  }
  // Also where VFIO could not reset the function: a model must not keep the DMA or the secrets of its last user.
  model_->reset();
}

void Function::reset() { model_->reset(); }

void Function::config_read(u32 offset, std::span<std::byte> out) {
  const MutexLock lock(mu_);
  IOMMUFD_ASSERT(virtual_.has_value());
  hardware_.set_line(line());
  virtual_->read(hardware_, offset, out);
}

void Function::config_write(u32 offset, std::span<const std::byte> in) {
  const MutexLock lock(mu_);
  IOMMUFD_ASSERT(virtual_.has_value());
  const Intx before = virtual_->intx();
  virtual_->write(hardware_, offset, in);
  follow_hardware();
  const Intx after = virtual_->intx();
  InterruptSink* sink = sink_.load(std::memory_order_acquire);
  if (after != before && sink != nullptr) sink->intx(after);
}

Result<void> Function::bar_read(u32 bar, u64 offset, std::span<std::byte> out) {
  while (!out.empty()) {
    if (!decodes(bar)) {
      return reject(Errno::kIo, {"PCI_COMMAND", command_.load(), "memory decoding is off", "vfio-device 9"});
    }
    const u32 width = operation(bar, offset, out.size());
    const u64 value = model_->bar_read(bar, offset, width);
    for (u32 i = 0; i < width; ++i) out[i] = static_cast<std::byte>(value >> (8 * i));
    out = out.subspan(width);
    offset += width;
  }
  return {};
}

Result<void> Function::bar_write(u32 bar, u64 offset, std::span<const std::byte> in) {
  while (!in.empty()) {
    if (!decodes(bar)) {
      return reject(Errno::kIo, {"PCI_COMMAND", command_.load(), "memory decoding is off", "vfio-device 9"});
    }
    const u32 width = operation(bar, offset, in.size());
    u64 value = 0;
    for (u32 i = 0; i < width; ++i) value |= std::to_integer<u64>(in[i]) << (8 * i);
    model_->bar_write(bar, offset, width, value);
    in = in.subspan(width);
    offset += width;
  }
  return {};
}

void Function::enable_msi(unsigned vectors_lg2) {
  const MutexLock lock(mu_);
  const auto msi = hardware_.msi();
  IOMMUFD_ASSERT(msi.has_value() && virtual_.has_value());
  const u32 at = *msi + reg::kMsiFlags;
  hardware_.write(at, 2, reg::kMsiEnable | vectors_lg2 << reg::kMsiEnabledShift);
  virtual_->set_msi(vectors_lg2);
  follow_hardware();
}

void Function::disable_msi() {
  const MutexLock lock(mu_);
  const auto msi = hardware_.msi();
  IOMMUFD_ASSERT(msi.has_value() && virtual_.has_value());
  hardware_.write(*msi + reg::kMsiFlags, 2, 0);
  virtual_->set_msi(std::nullopt);
  follow_hardware();
}

std::vector<u8> Function::sysfs_config() {
  const MutexLock lock(mu_);
  hardware_.set_line(line());
  return hardware_.bytes();
}

void Function::sysfs_write_config(u32 offset, std::span<const std::byte> in) {
  const MutexLock lock(mu_);
  while (!in.empty()) {
    u32 width = 4;
    while (offset % width != 0 || in.size() < width) width /= 2;
    u32 value = 0;
    for (u32 i = 0; i < width; ++i) value |= std::to_integer<u32>(in[i]) << (8 * i);
    hardware_.write(offset, width, value);
    offset += width;
    in = in.subspan(width);
  }
  follow_hardware();
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
  return out;
}

void Function::send_message(u32 vector) {
  if (!message_signalled() || (command_.load(std::memory_order_acquire) & reg::kCommandMaster) == 0) return;
  InterruptSink* sink = sink_.load(std::memory_order_acquire);
  // A function that was granted fewer vectors than it has uses the low bits (PCI 3.0, 6.8.3.1).
  if (sink != nullptr) sink->message(vector & (msi_vectors_.load(std::memory_order_acquire) - 1));
}

void Function::set_line(Level level) {
  if (line_.exchange(level, std::memory_order_acq_rel) == level) return;
  InterruptSink* sink = sink_.load(std::memory_order_acquire);
  if (sink != nullptr) sink->line(level);
}

void Function::set_command(u16 command) {
  hardware_.write(reg::kCommand, 2, command);
  follow_hardware();
}

void Function::follow_hardware() {
  const u16 command = hardware_.command();
  const u16 before = command_.exchange(command, std::memory_order_acq_rel);
  if (((command ^ before) & reg::kCommandMaster) != 0) dma_.set_bus_master((command & reg::kCommandMaster) != 0);
  if (const auto msi = hardware_.msi()) {
    const u32 flags = hardware_.read(*msi + reg::kMsiFlags, 2);
    msi_vectors_.store(1U << ((flags & reg::kMsiEnabledMask) >> reg::kMsiEnabledShift), std::memory_order_release);
    msi_enabled_.store((flags & reg::kMsiEnable) != 0, std::memory_order_release);
  }
}

bool Function::decodes_memory() const { return (command_.load(std::memory_order_acquire) & reg::kCommandMemory) != 0; }

bool Function::decodes(u32 bar) const {
  const u16 bit = spec_.bars[bar].kind == BarKind::kIo ? reg::kCommandIo : reg::kCommandMemory;
  return (command_.load(std::memory_order_acquire) & bit) != 0;
}

u32 Function::operation(u32 bar, u64 offset, std::size_t left) const {
  u32 width = spec_.bars[bar].kind == BarKind::kIo ? 4 : 8;
  while (offset % width != 0 || left < width) width /= 2;
  return width;
}

}  // namespace iommufd::pci

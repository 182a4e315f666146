// SPDX-License-Identifier: BSD-3-Clause
#include "host/messages.hpp"

#include <algorithm>
#include <atomic>

#include "pci/config_registers.hpp"

namespace iommufd::host {
namespace {

namespace reg = pci::reg;
constexpr u32 kData = 0xa5c3;  // anything but 0; MSI has 16 bits

}  // namespace

Result<std::unique_ptr<Messages>> Messages::create(const pci::FunctionSpec& spec, const ConfigFile& config) {
  const u32 vectors = std::max(spec.msix ? spec.msix->vectors : 0, spec.msi ? 1U : 0U);
  if (vectors == 0) return nullptr;
  u64 end = ~u64{0};
  if (const auto msi = config.find(reg::kCapMsi))
    if ((config.read(*msi + reg::kMsiFlags, 2) & reg::kMsi64) == 0) end = u64{1} << 32;
  std::unique_ptr<PinnedMemory> memory = IOMMUFD_TRY(PinnedMemory::create((vectors + kPerPage - 1) / kPerPage, end));
  return std::unique_ptr<Messages>(new Messages(vectors, spec.msix, std::move(memory)));
}

void Messages::point_msi(ConfigFile& config) const {
  const u32 at = *config.find(reg::kCapMsi);
  const u32 flags = config.read(at + reg::kMsiFlags, 2);
  drop_all();
  config.write(at + reg::kMsiAddressLow, 4, static_cast<u32>(address(0)));
  if ((flags & reg::kMsi64) != 0) config.write(at + reg::kMsiAddressHigh, 4, static_cast<u32>(address(0) >> 32));
  config.write(at + reg::msi_data(flags), 2, kData);
}

// All vectors unmasked: what the client masks is the Function's matter.
void Messages::point_msix(const Bars& bars) const {
  drop_all();
  for (u32 i = 0; i < msix_->vectors; ++i) {
    const u64 entry = msix_->table_offset + u64{i} * reg::kMsixEntrySize;
    bars.write(msix_->table_bar, entry, 4, address(i) & ~u32{0});
    bars.write(msix_->table_bar, entry + 4, 4, address(i) >> 32);
    bars.write(msix_->table_bar, entry + 8, 4, kData);
    bars.write(msix_->table_bar, entry + 12, 4, 0);
  }
}

bool Messages::take(u32 vector) const {
  const std::atomic_ref<u32> word(*dword(vector));
  return word.load(std::memory_order_acquire) != 0 && word.exchange(0, std::memory_order_acq_rel) != 0;
}

void Messages::drop_all() const {
  for (u32 i = 0; i < vectors_; ++i) (void)take(i);
}

}  // namespace iommufd::host

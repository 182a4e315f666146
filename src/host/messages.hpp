// SPDX-License-Identifier: BSD-3-Clause
// MSI and MSI-X without an interrupt controller. A message is a write of 4 bytes to an address: here the address of pages of our own,
// a dword for each vector. Whoever looks finds what was written there and puts 0 in its place, so that the next equal message is
// seen, too (two between two looks are one, as an edge-triggered interrupt that is pending already).
#pragma once

#include <memory>

#include "base/result.hpp"
#include "host/bars.hpp"
#include "host/config_file.hpp"
#include "host/pinned_memory.hpp"
#include "pci/function_spec.hpp"

namespace iommufd::host {

class Messages {
 public:
  // For as many vectors as `spec` has. Null: it has none. Errors: those of PinnedMemory.
  static Result<std::unique_ptr<Messages>> create(const pci::FunctionSpec& spec, const ConfigFile& config);

  // Tells the function where its messages go, before they are enabled.
  void point_msi(ConfigFile& config) const;
  void point_msix(const Bars& bars) const;

  [[nodiscard]] u32 vectors() const { return vectors_; }
  // Was a message of the vector written since the last time?
  [[nodiscard]] bool take(u32 vector) const;
  void drop_all() const;

  [[nodiscard]] int pin() const { return memory_->pin(); }

 private:
  static constexpr u32 kPerPage = kPageSize / sizeof(u32);
  Messages(u32 vectors, std::optional<pci::MsixSpec> msix, std::unique_ptr<PinnedMemory> memory)
      : vectors_(vectors), msix_(msix), memory_(std::move(memory)) {}
  [[nodiscard]] u64 address(u32 vector) const {
    return memory_->address(vector / kPerPage).raw() + u64{vector % kPerPage} * sizeof(u32);
  }
  [[nodiscard]] u32* dword(u32 vector) const {
    return reinterpret_cast<u32*>(memory_->page(vector / kPerPage).data()) + vector % kPerPage;
  }

  const u32 vectors_;
  const std::optional<pci::MsixSpec> msix_;
  const std::unique_ptr<PinnedMemory> memory_;
};

}  // namespace iommufd::host

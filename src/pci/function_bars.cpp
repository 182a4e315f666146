// SPDX-License-Identifier: BSD-3-Clause
// What answers behind the BARs and the expansion ROM of a function: the model, and for MSI-X the function itself.
#include <algorithm>

#include "base/explain.hpp"
#include "pci/config_registers.hpp"
#include "pci/function.hpp"

namespace iommufd::pci {
namespace {

constexpr u64 kAllOnes = ~u64{0};

// Where [offset, ...) of a BAR stands to a part of it.
struct Part {
  bool inside = false;
  u64 left = kAllOnes;  // bytes to the border of the part, in it or before it
};
Part part(u64 offset, u64 start, u64 size) {
  if (offset < start) return {false, start - offset};
  if (offset < start + size) return {true, start + size - offset};
  return {};
}

}  // namespace

Result<void> Function::bar_read(u32 bar, u64 offset, std::span<std::byte> out) {
  while (!out.empty()) {
    IOMMUFD_TRY(check_decoding(decoding_bit(bar)));
    const auto [target, width] = operation(bar, offset, out.size());
    u64 value = kAllOnes;
    if (target == Target::kModel) value = model_->bar_read(bar, offset, width);
    if (target == Target::kPending) value = pending_bits(offset - spec_.msix->pending_offset, width);
    for (u32 i = 0; i < width; ++i) out[i] = static_cast<std::byte>(value >> (8 * i));
    out = out.subspan(width);
    offset += width;
  }
  return {};
}

Result<void> Function::bar_write(u32 bar, u64 offset, std::span<const std::byte> in) {
  while (!in.empty()) {
    IOMMUFD_TRY(check_decoding(decoding_bit(bar)));
    const auto [target, width] = operation(bar, offset, in.size());
    u64 value = 0;
    for (u32 i = 0; i < width; ++i) value |= std::to_integer<u64>(in[i]) << (8 * i);
    if (target == Target::kModel) model_->bar_write(bar, offset, width, value);  // pending bits are read-only
    in = in.subspan(width);
    offset += width;
  }
  return {};
}

Result<void> Function::rom_read(u64 offset, std::span<std::byte> out) const {
  IOMMUFD_TRY(check_decoding(reg::kCommandMemory));
  std::ranges::fill(out, std::byte{0xff});
  if (offset >= rom_image_size_) return {};
  const auto image = std::as_bytes(std::span(*spec_.rom)).first(rom_image_size_).subspan(offset);
  std::ranges::copy(image.first(std::min(image.size(), out.size())), out.begin());
  return {};
}

bool Function::touches_msix_table(u32 bar, u64 offset, u64 size) const {
  if (!spec_.msix || spec_.msix->table_bar != bar) return false;
  const u64 start = spec_.msix->table_offset;
  return offset < start + spec_.msix->table_size() && offset + size > start;
}

u16 Function::decoding_bit(u32 bar) const {
  return spec_.bars[bar].kind == BarKind::kIo ? reg::kCommandIo : reg::kCommandMemory;
}

Result<void> Function::check_decoding(u16 bit) const {
  const u16 decoding = decoding_.load(std::memory_order_acquire);
  if ((decoding & bit) != 0) return {};
  return reject(Errno::kIo, {"PCI_COMMAND", decoding, "decoding is off, or the function is in D3hot", "vfio-device 9"});
}

Function::Operation Function::operation(u32 bar, u64 offset, std::size_t left) const {
  Operation op{Target::kModel, spec_.bars[bar].kind == BarKind::kIo ? 4U : 8U};
  u64 room = left;
  if (spec_.msix) {
    const Part table =
        spec_.msix->table_bar == bar ? part(offset, spec_.msix->table_offset, spec_.msix->table_size()) : Part{};
    const Part pending =
        spec_.msix->pending_bar == bar ? part(offset, spec_.msix->pending_offset, spec_.msix->pending_size()) : Part{};
    if (table.inside) op.target = Target::kTable;
    if (pending.inside) op.target = Target::kPending;
    room = std::min({room, table.left, pending.left});
  }
  while (offset % op.width != 0 || room < op.width) op.width /= 2;
  return op;
}

u64 Function::pending_bits(u64 offset, u32 width) const {
  const u64 word = msix_masks_.pending(static_cast<u32>(offset / 8));
  return word >> (8 * (offset % 8)) & (width == 8 ? kAllOnes : (u64{1} << (8 * width)) - 1);
}

}  // namespace iommufd::pci

// SPDX-License-Identifier: BSD-3-Clause
#include "models/nvme/piece_list.hpp"

namespace iommufd::models::nvme {

void PieceList::add(u64 address, std::span<std::byte> bytes) {
  if (bytes.empty()) return;
  if (!pieces_.empty()) {
    iommu::DmaReadPiece& last = pieces_.back();
    const u64 end = last.addr + last.bytes.size();
    if (end == address && end != 0 && last.bytes.data() + last.bytes.size() == bytes.data()) {
      last.bytes = {last.bytes.data(), last.bytes.size() + bytes.size()};
      return;
    }
  }
  pieces_.push_back({address, bytes});
}

Result<void> PieceList::write_to(iommu::DmaPort& port) {
  outgoing_.clear();
  for (const iommu::DmaReadPiece& piece : pieces_) outgoing_.push_back({piece.addr, piece.bytes});
  return port.write_pieces(outgoing_);
}

}  // namespace iommufd::models::nvme

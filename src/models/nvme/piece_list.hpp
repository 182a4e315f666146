// SPDX-License-Identifier: BSD-3-Clause
// The data of a command: pieces of bus memory and the bytes of ours that belong to them, moved in one transaction.
#pragma once

#include <span>
#include <vector>

#include "iommu/dma_port.hpp"

namespace iommufd::models::nvme {

// Keeps its memory from one command to the next.
class PieceList {
 public:
  void clear() { pieces_.clear(); }
  // Behind what is there; pieces that follow each other on the bus and in our memory become one.
  void add(u64 address, std::span<std::byte> bytes);
  // Errors: kFault.
  Result<void> read_from(iommu::DmaPort& port) const { return port.read_pieces(pieces_); }
  Result<void> write_to(iommu::DmaPort& port);
  [[nodiscard]] std::span<const iommu::DmaReadPiece> pieces() const { return pieces_; }

 private:
  std::vector<iommu::DmaReadPiece> pieces_;
  std::vector<iommu::DmaWritePiece> outgoing_;  // the same, for write_to()
};

}  // namespace iommufd::models::nvme

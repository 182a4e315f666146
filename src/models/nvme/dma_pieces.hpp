// SPDX-License-Identifier: BSD-3-Clause
// A transfer of several pieces as one call: the data of a command, the entries of a ring around its end.
#pragma once

#include <span>

#include "iommu/dma_port.hpp"

namespace iommufd::models::nvme {

struct DmaPiece {
  u64 address = 0;             // on the bus
  std::span<std::byte> bytes;  // ours
};

// The one place that knows how pieces reach the port. Errors: kFault; pieces before the faulting one have moved.
inline Result<void> read_pieces(iommu::DmaPort& port, std::span<const DmaPiece> pieces) {
  for (const DmaPiece& piece : pieces) IOMMUFD_TRY(port.read(piece.address, piece.bytes));
  return {};
}
inline Result<void> write_pieces(iommu::DmaPort& port, std::span<const DmaPiece> pieces) {
  for (const DmaPiece& piece : pieces) IOMMUFD_TRY(port.write(piece.address, piece.bytes));
  return {};
}

}  // namespace iommufd::models::nvme

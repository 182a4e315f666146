// SPDX-License-Identifier: BSD-3-Clause
// The only way of a device to memory. Behind an IOMMU the address is an IOVA and is translated by the page table of the
// domain that the device is attached to; without one it *is* the physical address. Thread-safe.
#pragma once

#include <cstddef>
#include <span>

#include "base/result.hpp"
#include "base/types.hpp"

namespace iommufd::iommu {

// A part of a transfer: bytes of the device, and the bus address where they go or come from.
template <class Byte>
struct DmaPiece {
  u64 addr = 0;
  std::span<Byte> bytes;
};
using DmaReadPiece = DmaPiece<std::byte>;
using DmaWritePiece = DmaPiece<const std::byte>;

class DmaPort {
 public:
  virtual ~DmaPort() = default;
  // The device reads (writes) memory, all pieces in one transaction: what lies in pages that we cannot touch ourselves moves in as
  // few system calls as possible, so the pieces arrive in no particular order. On a fault the transaction aborts: any bytes
  // may have moved, the first fault has been reported, and the result is kFault. Nothing else is returned, nothing is
  // thrown, nothing crashes. Bus mastering off aborts too. Never call it with a ranked lock held that ranks above
  // LockRank::kModel.
  virtual Result<void> read_pieces(std::span<const DmaReadPiece> pieces) = 0;
  virtual Result<void> write_pieces(std::span<const DmaWritePiece> pieces) = 0;
  // The same for one piece; its bytes before the faulting page may have moved, none behind it.
  Result<void> read(u64 addr, std::span<std::byte> buf) {
    const DmaReadPiece piece{addr, buf};
    return read_pieces({&piece, 1});
  }
  Result<void> write(u64 addr, std::span<const std::byte> buf) {
    const DmaWritePiece piece{addr, buf};
    return write_pieces({&piece, 1});
  }
  // PCI command register bit 2. Off: every transaction aborts.
  virtual void set_bus_master(bool on) = 0;
};

}  // namespace iommufd::iommu

// SPDX-License-Identifier: BSD-3-Clause
// From the data pointer of a command to pieces of bus memory (NVMe 1.4, 4.3 and 4.4; spec nvme 7).
#pragma once

#include <span>
#include <vector>

#include "models/nvme/piece_list.hpp"
#include "models/nvme/status.hpp"
#include "models/nvme/wire.hpp"

namespace iommufd::models::nvme {

enum class Direction : u8 { kToDevice, kToHost };

class DataPointerWalker {
 public:
  explicit DataPointerWalker(iommu::DmaPort& port) : port_(port) {}
  void set_page_lg2(unsigned lg2) { page_lg2_ = lg2; }

  // Where the client has `bytes.size()` bytes for PRP entries or an SGL; the pieces are `bytes`, cut up.
  Step walk_prp(const DataPointer& data, std::span<std::byte> bytes, PieceList& out);
  Step walk_sgl(const DataPointer& data, std::span<std::byte> bytes, Direction direction, PieceList& out);

 private:
  struct Descriptor;
  Step add_descriptor(const Descriptor& d, std::span<std::byte>& left, Direction direction, PieceList& out) const;

  iommu::DmaPort& port_;
  unsigned page_lg2_ = 12;
  std::vector<u64> list_;
};

}  // namespace iommufd::models::nvme

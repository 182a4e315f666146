// SPDX-License-Identifier: BSD-3-Clause
#include "mem/address_space.hpp"

#include <atomic>

namespace iommufd::mem {
namespace {
std::atomic<u64> g_next_id{1};

// `copy` moves one piece, and says how much of it.
template <class Piece, class Copy>
Result<std::size_t> one_by_one(std::span<const Piece> pieces, Copy&& copy) {
  std::size_t done = 0;
  for (const Piece& piece : pieces) {
    const Result<std::size_t> n = copy(piece);
    if (!n && done == 0) return n;
    if (n) done += *n;
    if (!n || *n != piece.bytes.size()) break;
  }
  return done;
}

}  // namespace

AddressSpace::AddressSpace() : id_(g_next_id.fetch_add(1, std::memory_order_relaxed)) {}

Result<std::size_t> AddressSpace::read_pieces(std::span<const ReadPiece> pieces) {
  return one_by_one(pieces, [this](const ReadPiece& p) { return read_some(p.at, p.bytes); });
}

Result<std::size_t> AddressSpace::write_pieces(std::span<const WritePiece> pieces) {
  return one_by_one(pieces, [this](const WritePiece& p) { return write_some(p.at, p.bytes); });
}

Result<void> AddressSpace::read(UserVa from, std::span<std::byte> buf) {
  const Result<std::size_t> n = read_some(from, buf);
  if (!n || *n != buf.size()) return Err(Errno::kFault);
  return {};
}

Result<void> AddressSpace::write(UserVa to, std::span<const std::byte> buf) {
  const Result<std::size_t> n = write_some(to, buf);
  if (!n || *n != buf.size()) return Err(Errno::kFault);
  return {};
}

}  // namespace iommufd::mem

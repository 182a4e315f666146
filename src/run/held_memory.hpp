// SPDX-License-Identifier: BSD-3-Clause
// Ranges of a memory that are *held*: access to them reaches the pages that were there when they were held, whatever becomes of their
// addresses since. ClientMemory and PinnedFile hold what they populated.
//
// Lock: mu_ (kLeaf) guards what is held; not held during a copy.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <span>
#include <utility>

#include "base/result.hpp"
#include "base/sync.hpp"
#include "base/types.hpp"
#include "mem/pin_ring.hpp"

namespace iommufd::run {

// The way to a range that stays what it was. Immutable.
class Held {
 public:
  virtual ~Held() = default;
  virtual Result<std::size_t> read(u64 at, std::span<std::byte> buf) = 0;
  virtual Result<std::size_t> write(u64 at, std::span<const std::byte> buf) = 0;
  virtual std::byte* direct(u64 at) {
    (void)at;
    return nullptr;
  }
};

// A slot of a ring; the pin ends with this object. Address `at` of the memory was `at + shift` where it was pinned.
class HeldSlot final : public Held {
 public:
  HeldSlot(Ref<mem::PinRing> ring, u32 slot, u64 shift) : ring_(std::move(ring)), slot_(slot), shift_(shift) {}
  ~HeldSlot() override { ring_->unpin(slot_); }
  Result<std::size_t> read(u64 at, std::span<std::byte> buf) override;
  Result<std::size_t> write(u64 at, std::span<const std::byte> buf) override;

 private:
  const Ref<mem::PinRing> ring_;
  const u32 slot_;
  const u64 shift_;
};

class HeldRanges {
 public:
  struct Piece {
    std::shared_ptr<Held> held;  // null: nothing is held there
    u64 size = 0;                // how far that goes, up to the size asked for
  };

  [[nodiscard]] Piece piece_at(u64 at, u64 size) IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] bool empty() IOMMUFD_EXCLUDES(mu_);
  // What was held there before goes: a page is populated anew only when none of its earlier pins is left.
  void hold(u64 start, u64 end, std::shared_ptr<Held> held) IOMMUFD_EXCLUDES(mu_);

  // The bytes moved by `copy(piece, bytes moved before it)` for [at, at + size), before the first piece that ends early; the first one's
  // error.
  template <class Copy>
  Result<std::size_t> by_pieces(u64 at, std::size_t size, Copy&& copy) IOMMUFD_EXCLUDES(mu_);

 private:
  struct Range {
    u64 end = 0;
    std::shared_ptr<Held> held;
  };
  Mutex mu_{LockRank::kLeaf};
  std::map<u64, Range> ranges_ IOMMUFD_GUARDED_BY(mu_);  // by start; they do not overlap
};

template <class Copy>
Result<std::size_t> HeldRanges::by_pieces(u64 at, std::size_t size, Copy&& copy) {
  std::size_t done = 0;
  while (done < size) {
    const Piece piece = piece_at(at + done, size - done);
    const Result<std::size_t> n = copy(piece, done);
    if (!n && done == 0) return n;
    if (n) done += *n;
    if (!n || *n < piece.size) break;
  }
  return done;
}

}  // namespace iommufd::run

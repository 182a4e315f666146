// SPDX-License-Identifier: BSD-3-Clause
// The memory of a client as one call sees it, and as the pins made for that call hold it. Copies follow the client's
// addresses (ProcessMemory). What was populated may be *held*: then access to it reaches the pages that were there then,
// until this object goes, with the last mapping that was made of it. Held are
// * shared files whose descriptor the client has open, and as root all shared memory: by mem::ClientFile, so a file that is cut short
//   makes a DMA fault;
// * with --pin=real, private memory: as buffers of a PinRing;
// * with real devices (PinPolicy::kFrames), all memory, in the same way.
// Memory that cannot be held is followed, as all memory is without: after the client unmaps it and uses the address again,
// DMA reaches the new memory. --pin=real says so once when it happens.
#pragma once

#include <optional>
#include <vector>

#include "run/held_memory.hpp"
#include "run/process_memory.hpp"

namespace iommufd::run {

class ClientMemory final : public mem::AddressSpace {
 public:
  // `keeper` hears of real pins; null: nobody does.
  ClientMemory(Ref<ProcessMemory> process, const Options& options, mem::PinKeeper* keeper)
      : process_(std::move(process)), policy_(options.pin), frames_end_(options.frames_end), keeper_(keeper) {}

  Result<std::size_t> read_some(UserVa from, std::span<std::byte> buf) override;
  Result<std::size_t> write_some(UserVa to, std::span<const std::byte> buf) override;
  Result<std::size_t> read_pieces(std::span<const mem::ReadPiece> pieces) override;
  Result<std::size_t> write_pieces(std::span<const mem::WritePiece> pieces) override;
  // Private memory that --pin=real holds has keys of its own for each pin: whether the page at an address is still the one
  // that an earlier pin holds cannot be known.
  Result<void> populate(UserVa page, u64 count, Access access, std::vector<mem::PageRun>& out) override;
  std::byte* direct(UserVa va) override;
  [[nodiscard]] u64 memory_id() const override { return process_->memory_id(); }

 private:
  void hold_file(CallScope& call, const Vma& vma, u64 start, u64 end);
  // A stretch of one mapping with its real frames, as runs. Errors: those of refuse_pin().
  Result<void> hold_frames(CallScope& call, const Vma& vma, u64 start, u64 end, std::vector<mem::PageRun>& out);
  // The key space of what is held now; nothing when it cannot be held.
  std::optional<u64> hold_private(CallScope& call, u64 start, u64 end);

  const Ref<ProcessMemory> process_;
  const PinPolicy policy_;
  const u64 frames_end_;
  mem::PinKeeper* const keeper_;
  HeldRanges held_;
  u64 generation_ = 0;  // of private holds; populate() is not called in parallel for one mapping
};

}  // namespace iommufd::run

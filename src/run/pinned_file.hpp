// SPDX-License-Identifier: BSD-3-Clause
// The pages of a client's file for real devices (PinPolicy::kFrames): IOMMU_IOAS_MAP_FILE. The file is mapped here for a moment, its
// pages are pinned by a ring of ours with the frames that they really have, and are reached by that ring from then on: the pins survive
// the file's being cut short, the client, and us (mem/pin_keeper.hpp).
//
// Locks: FilePins::mu_ (kLeaf) guards the lazily made ring; HeldRanges has its own.
#pragma once

#include <vector>

#include "base/fd.hpp"
#include "base/ref.hpp"
#include "base/sync.hpp"
#include "mem/file_space.hpp"
#include "run/held_memory.hpp"

namespace iommufd::run {

// The ring for all files.
class FilePins final : public RefCounted {
 public:
  // `keeper` hears of the pins, and outlives this (null: nobody does). Frames at `frames_end` and behind it are refused.
  FilePins(mem::PinKeeper* keeper, u64 frames_end) : keeper_(keeper), frames_end_(frames_end) {}
  // Made when it is first needed. Errors: PinRing::create().
  Result<Ref<mem::PinRing>> ring() IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] u64 frames_end() const { return frames_end_; }

 private:
  mem::PinKeeper* const keeper_;
  const u64 frames_end_;
  Mutex mu_{LockRank::kLeaf};
  Ref<mem::PinRing> ring_ IOMMUFD_GUARDED_BY(mu_);
};

class PinnedFile final : public mem::AddressSpace {
 public:
  PinnedFile(Fd file, Ref<FilePins> pins) : file_(mem::ClientFile::of(std::move(file))), pins_(std::move(pins)) {}

  // What is not pinned is reached as the file is now.
  Result<std::size_t> read_some(UserVa from, std::span<std::byte> buf) override;
  Result<std::size_t> write_some(UserVa to, std::span<const std::byte> buf) override;
  // Errors: those of mem::allocate_pages(); kPerm for a file that we may not write (its seals, a file system that is mounted read-only):
  // pages are pinned for writing, whatever the device may do; those of refuse_pin().
  Result<void> populate(UserVa page, u64 count, Access access, std::vector<mem::PageRun>& out) override;
  std::byte* direct(UserVa) override { return nullptr; }
  [[nodiscard]] mem::Backing backing() const override { return mem::Backing::kFile; }

 private:
  Result<void> pin(u64 start, u64 end, u64 page_size, std::vector<mem::PageRun>& out);

  const std::shared_ptr<mem::ClientFile> file_;
  const Ref<FilePins> pins_;
  HeldRanges held_;
};

}  // namespace iommufd::run

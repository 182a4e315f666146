// SPDX-License-Identifier: BSD-3-Clause
#include "run/pinned_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>

#include "base/explain.hpp"
#include "base/sys.hpp"
#include "run/frame_pins.hpp"

namespace iommufd::run {

Result<Ref<mem::PinRing>> FilePins::ring() {
  const MutexLock lock(mu_);
  if (!ring_) ring_ = IOMMUFD_TRY(mem::PinRing::create(keeper_));
  return ring_;
}

Result<std::size_t> PinnedFile::read_some(UserVa from, std::span<std::byte> buf) {
  return held_.by_pieces(from.raw(), buf.size(), [&](const HeldRanges::Piece& p, std::size_t done) {
    const auto part = buf.subspan(done, p.size);
    const u64 at = from.raw() + done;
    return p.held ? p.held->read(at, part) : file_->read_some(at, part);
  });
}

Result<std::size_t> PinnedFile::write_some(UserVa to, std::span<const std::byte> buf) {
  return held_.by_pieces(to.raw(), buf.size(), [&](const HeldRanges::Piece& p, std::size_t done) {
    const auto part = buf.subspan(done, p.size);
    const u64 at = to.raw() + done;
    return p.held ? p.held->write(at, part) : file_->write_some(at, part);
  });
}

// The mapping is of whole pages of the file, and needed no longer than until its pages are known.
Result<void> PinnedFile::pin(u64 start, u64 end, u64 page_size, std::vector<mem::PageRun>& out) {
  const u64 first = align_down(start, page_size), size = align_down(end - 1, page_size) + page_size - first;
  const sys::Mapping mapping = IOMMUFD_TRY(sys::Mapping::map(file_->fd().get(), first, size, Access::kReadWrite));
  const std::span<const std::byte> bytes = mapping.bytes();
  (void)::madvise(mapping.bytes().data(), size, MADV_POPULATE_WRITE);  // what cannot be had, the pin will say
  const u64 address = std::bit_cast<u64>(bytes.data());
  const Ref<mem::PinRing> ring = IOMMUFD_TRY(pins_->ring());
  const PinSource source {
    .ring = ring, .frames = IOMMUFD_TRY(mem::RealFrames::open(::getpid()))
    , .pin = [&](u64 at, u64 length) { return ring->pin_own(bytes.subspan(at - address, length)); },
        .shift = address - first, .page_size = page_size
  };
  return pin_frames(source, start, end, pins_->frames_end(), held_, out);
}

Result<void> PinnedFile::populate(UserVa page, u64 count, Access, std::vector<mem::PageRun>& out) {
  const u64 start = page.raw();
  const mem::FilePages pages = IOMMUFD_TRY(mem::allocate_pages(file_->fd(), start, count));
  if (file_->access() != Access::kReadWrite)
    return reject(Errno::kPerm,
                  {"fd", static_cast<u64>(std::max(::fcntl(file_->fd().get(), F_GET_SEALS), 0)),
                   "is sealed against writing, or on a file system that is read-only: its pages are pinned for writing",
                   "docs/host.md, Memory"});
  const std::size_t before = out.size();
  const Result<void> pinned = pin(start, start + count * kPageSize, pages.page_size, out);
  if (pinned) return {};
  out.resize(before);
  return refuse_pin(pinned.error(), start, {.field = "start"});
}

}  // namespace iommufd::run

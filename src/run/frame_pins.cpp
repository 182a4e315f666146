// SPDX-License-Identifier: BSD-3-Clause
#include "run/frame_pins.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/explain.hpp"
#include "run/message.hpp"

namespace iommufd::run {
namespace {

constexpr const char* kSection = "docs/host.md, Memory";

void append_runs(std::span<const PhysAddr> frames, u64 page_size, std::vector<mem::PageRun>& out) {
  for (std::size_t i = 0; i < frames.size();) {
    std::size_t n = 1;
    while (i + n < frames.size() && frames[i + n].raw() == frames[i].raw() + n * kPageSize) ++n;
    out.push_back({.first = {}, .pages = n, .page_size = page_size, .on_bus = frames[i]});
    i += n;
  }
}

Result<void> check_reach(std::span<const PhysAddr> frames, u64 end) {
  const auto far = std::ranges::find_if(frames, [end](PhysAddr frame) { return frame.raw() >= end; });
  if (far == frames.end()) return {};
  message(
      fmt::format("a page at physical address {:#x} is out of the device's reach (dma_bits, {:#x}): use memory from "
                  "a pool of huge "
                  "pages that was reserved at boot, or boot with mem=",
                  far->raw(), end));
  return reject(Errno::kRange, {"physical address", far->raw(), "is out of the device's reach (dma_bits)", kSection});
}

}  // namespace

Result<void> pin_frames(const PinSource& source, u64 start, u64 end, u64 frames_end, HeldRanges& held,
                        std::vector<mem::PageRun>& out) {
  constexpr int kAttempts = 16;
  for (u64 at = start; at < end;) {
    const u64 length = std::min(end - at, mem::PinRing::kMaxLength);
    const UserVa there{at + source.shift};
    std::vector<PhysAddr> before(length / kPageSize), frames(before.size());
    std::shared_ptr<Held> slot;
    for (int i = 0; !slot; ++i) {
      if (i == kAttempts) return Err(Errno::kAgain);
      const Result<void> guess = source.frames.read(there, before);
      if (!guess && guess.error() != Errno::kFault) return Err(guess.error());
      const auto fresh =
          std::make_shared<HeldSlot>(source.ring, IOMMUFD_TRY(source.pin(there.raw(), length)), source.shift);
      IOMMUFD_TRY(source.frames.read(there, frames));
      if (guess && frames == before) slot = fresh;
    }
    IOMMUFD_TRY(check_reach(frames, frames_end));
    held.hold(at, at + length, std::move(slot));
    append_runs(frames, source.page_size, out);
    at += length;
  }
  return {};
}

Err refuse_pin(Errno e, u64 start, const PinObstacle& obstacle) {
  if (e == Errno::kRange || e == Errno::kSrch) return Err(e);  // was said, or nobody is there to hear of it
  const char* why = "its pages cannot be pinned";
  switch (e) {
    case Errno::kPerm: why = "frame numbers are hidden, or a debugger holds the thread"; break;
    case Errno::kNoMem:
      why = "the limit of locked memory is reached, or there are more pieces than can be pinned one by one (16384)";
      break;
    case Errno::kAgain: why = "its pages change all the time"; break;
    case Errno::kFault:
    case Errno::kOpNotSupp:
      e = Errno::kFault;
      if (obstacle.read_only) {
        why = "it must be mapped for writing, too: pages are pinned for that, whatever the device may do";
      } else if (obstacle.has_file) {
        why = "it is a file's: only those in a memfd, in tmpfs or in huge pages can be pinned";
      }
      break;
    default: break;
  }
  message(fmt::format("memory for a real device at {:#x} cannot be pinned ({}): {}", start, errno_name(e), why));
  return reject(e, {obstacle.field, start, why, kSection});
}

}  // namespace iommufd::run

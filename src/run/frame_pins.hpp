// SPDX-License-Identifier: BSD-3-Clause
// Memory for real devices (PinPolicy::kFrames): pages are pinned in a PinRing, and have the frames that they really have.
//
// Which frames they are is asked before and after they are pinned: only when both answers are the same were they these while nobody
// could move them, nor their owner map others in their place.
#pragma once

#include <functional>
#include <vector>

#include "base/ref.hpp"
#include "mem/address_space.hpp"
#include "mem/pin_ring.hpp"
#include "mem/real_frames.hpp"
#include "run/held_memory.hpp"

namespace iommufd::run {

// Where pages are looked for and pinned: those of [start, end) of some memory, at other addresses by `shift`.
struct PinSource {
  Ref<mem::PinRing> ring;
  mem::RealFrames frames;
  std::function<Result<u32>(u64 at, u64 length)> pin;  // of these addresses; a slot of the ring
  u64 shift = 0;
  u64 page_size = kPageSize;
};

// Pins [start, end), whole pages, enters them into `held` and appends their frames to `out`. Errors: kRange (a frame is at
// `frames_end` or behind it; said in a message), kAgain (somebody maps others all the time), kPerm (frames are hidden), those of `pin`.
Result<void> pin_frames(const PinSource& source, u64 start, u64 end, u64 frames_end, HeldRanges& held,
                        std::vector<mem::PageRun>& out);

// What was to be pinned, and what may keep it from that.
struct PinObstacle {
  const char* field = "user_va";  // where it was named
  bool read_only = false;
  bool has_file = false;
};
// The errno that the client gets for an error of pin_frames(), with a reason for --explain, and a message for the operator. All that
// cannot be pinned is kFault, whatever this kernel says of it.
Err refuse_pin(Errno e, u64 start, const PinObstacle& obstacle);

}  // namespace iommufd::run

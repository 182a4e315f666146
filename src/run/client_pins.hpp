// SPDX-License-Identifier: BSD-3-Clause
// Pages of a client in a PinRing: the client is made to register them (inject.hpp), since the kernel pins what the registering process
// has.
#pragma once

#include "mem/pin_ring.hpp"
#include "run/call_scope.hpp"

namespace iommufd::run {

// Holds [start, start + length) of the caller's memory, page aligned, at most PinRing::kMaxLength, and returns the slot. Errors:
// those of injection (kPerm, kOpNotSupp, kSrch); kNoMem (the limit, or no slot left); kFault, kOpNotSupp (memory that cannot be
// held, or that may not be written).
Result<u32> pin_in_client(mem::PinRing& ring, CallScope& call, u64 start, u64 length);

}  // namespace iommufd::run

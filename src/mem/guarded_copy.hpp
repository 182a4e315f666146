// SPDX-License-Identifier: BSD-3-Clause
// Copies from and to mapped memory that its owner can take away under us: the pages of a file that a client cuts short, a hole
// that no page is left for, a page that the machine cannot read. Touching them raises SIGBUS; a guarded copy ends there instead.
//
// A signal action belongs to the whole process, so the program that embeds the engine decides: `run`'s server enables the guard, a
// library never does so unasked. Without it guarded_copy() is memcpy, and nobody maps what can go away (mem/client_file.hpp).
//
// How: the copy is one function of known instructions that keeps no state but registers. The handler recognises a fault by the
// instruction, and sets the thread to go on at the byte-by-byte copy or, from there, at the end. Nothing is unwound.
#pragma once

#include <cstddef>

namespace iommufd::mem {

// Takes SIGBUS: every other one goes to the action that was there before. True when the guard is on, then or already; false on
// processors that it is not written for.
bool enable_guarded_copies();
[[nodiscard]] bool copies_are_guarded();

// Copies upwards, and returns how many bytes were moved: all but those from the first byte on that cannot be touched. 1, 2, 4 or 8
// bytes are one load and one store. The ranges do not overlap.
std::size_t guarded_copy(std::byte* to, const std::byte* from, std::size_t size);

}  // namespace iommufd::mem

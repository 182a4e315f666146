// SPDX-License-Identifier: BSD-3-Clause
// Copies to and from the memory of another process, by its number: who calls makes sure that the number is still the
// process that is meant. The page protection of that process is respected.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>

#include "base/result.hpp"
#include "base/types.hpp"
#include "mem/address_space.hpp"

namespace iommufd::run {

// Bytes moved before the first page that cannot be accessed. Errors: kSrch when there is no such process, or it has no
// memory any more; kPerm.
Result<std::size_t> remote_read(pid_t pid, u64 at, std::span<std::byte> buf);
Result<std::size_t> remote_write(pid_t pid, u64 at, std::span<const std::byte> buf);
// Pieces that follow each other; one system call for up to 64 of them.
Result<std::size_t> remote_read(pid_t pid, std::span<const mem::ReadPiece> pieces);
Result<std::size_t> remote_write(pid_t pid, std::span<const mem::WritePiece> pieces);

}  // namespace iommufd::run

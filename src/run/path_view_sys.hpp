// SPDX-License-Identifier: BSD-3-Clause
// What the path views need of the file system: directories read whole, and calls whose value says nothing.
#pragma once

#include <fcntl.h>

#include <map>
#include <optional>
#include <string>

#include "base/result.hpp"

namespace iommufd::run {

inline constexpr int kOpenDirectory = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

// A system call that only succeeds or fails.
Result<void> done(int result);

// Names and types (DT_*) of a directory, without "." and ".."; nothing when it cannot be read.
std::optional<std::map<std::string, unsigned char, std::less<>>> list_directory(int at, const char* path);

}  // namespace iommufd::run

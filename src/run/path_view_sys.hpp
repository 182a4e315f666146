// SPDX-License-Identifier: BSD-3-Clause
// Directories read whole.
#pragma once

#include <fcntl.h>

#include <map>
#include <optional>
#include <string>

namespace iommufd::run {

inline constexpr int kOpenDirectory = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

// Names and types (DT_*) of a directory, without "." and ".."; nothing when it cannot be read.
std::optional<std::map<std::string, unsigned char, std::less<>>> list_directory(int at, const char* path);

}  // namespace iommufd::run

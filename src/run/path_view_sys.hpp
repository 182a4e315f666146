// SPDX-License-Identifier: BSD-3-Clause
// Directories read whole.
#pragma once

#include <fcntl.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

namespace iommufd::run {

inline constexpr int kOpenDirectory = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

// Names and types (DT_*) of a directory, without "." and "..".
using DirectoryEntries = std::map<std::string, unsigned char, std::less<>>;

// Nothing when it cannot be read, or has more than `most` entries.
std::optional<DirectoryEntries> list_directory(int at, const char* path, std::size_t most = SIZE_MAX);

}  // namespace iommufd::run

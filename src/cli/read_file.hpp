// SPDX-License-Identifier: BSD-3-Clause
// A file that the user has named, as a whole.
#pragma once

#include <cstddef>
#include <string>

#include "cli/values.hpp"

namespace iommufd::cli {

// Errors begin with the path: it cannot be read, or is longer than `limit` (whole MiB).
Parsed<std::string> read_file(const std::string& path, std::size_t limit);

}  // namespace iommufd::cli

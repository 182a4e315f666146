// SPDX-License-Identifier: BSD-3-Clause
// "did you mean": the known word that a misspelt one was meant to be.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace iommufd::cli {

// Changes of one letter (added, left out, replaced) or of two neighbours that turn `a` into `b`.
std::size_t edit_distance(std::string_view a, std::string_view b);

// " (did you mean 'iommu'?)", or nothing when no known word is near or begins so.
std::string suggestion(std::string_view word, std::span<const std::string_view> known);

}  // namespace iommufd::cli

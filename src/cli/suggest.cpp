// SPDX-License-Identifier: BSD-3-Clause
#include "cli/suggest.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <vector>

namespace iommufd::cli {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  // Three rows of the table of distances between prefixes: the current one and the two before it.
  std::vector<std::size_t> older(b.size() + 1), old(b.size() + 1), now(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) now[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    older.swap(old);
    old.swap(now);
    now[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = old[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      now[j] = std::min({old[j] + 1, now[j - 1] + 1, replaced});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) now[j] = std::min(now[j], older[j - 2] + 1);
    }
  }
  return now[b.size()];
}

std::string suggestion(std::string_view word, std::span<const std::string_view> known) {
  const auto distance = [&](std::string_view k) { return edit_distance(word, k); };
  auto best = std::ranges::min_element(known, {}, distance);
  if (best == known.end()) return {};
  // A third of the letters may be wrong; a word of one or two letters is near to everything.
  const bool near = best->size() >= 3 && distance(*best) <= std::max<std::size_t>(best->size() / 3, 1);
  if (!near && word.size() >= 3) {
    best = std::ranges::find_if(known, [&](std::string_view k) { return k.starts_with(word); });
    if (best == known.end()) return {};
  } else if (!near) {
    return {};
  }
  return fmt::format(" (did you mean '{}'?)", *best);
}

}  // namespace iommufd::cli

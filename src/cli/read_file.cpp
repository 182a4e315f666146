// SPDX-License-Identifier: BSD-3-Clause
#include "cli/read_file.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

namespace iommufd::cli {

Parsed<std::string> read_file(const std::string& path, std::size_t limit) {
  constexpr std::size_t kMiB = 1 << 20;
  const auto failed = [&] {
    return std::unexpected(fmt::format("{}: cannot be read: {}", path, std::strerror(errno)));
  };
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "re"), std::fclose);
  if (!file) return failed();
  std::string text(limit + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file.get()));
  if (std::ferror(file.get()) != 0) return failed();
  if (text.size() > limit) return std::unexpected(fmt::format("{}: is longer than {} MiB", path, limit / kMiB));
  return text;
}

}  // namespace iommufd::cli

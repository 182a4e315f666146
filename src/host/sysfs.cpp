// SPDX-License-Identifier: BSD-3-Clause
#include "host/sysfs.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <sstream>
#include <system_error>
#include <utility>

#include "base/sys.hpp"

namespace iommufd::host {

namespace fs = std::filesystem;

std::optional<std::string> read_attribute(const std::string& path) {
  Result<std::string> text = sys::read_file(path);
  if (!text) return std::nullopt;
  while (text->ends_with('\n')) text->pop_back();
  return *std::move(text);
}

std::optional<u64> read_number(const std::string& path) {
  const std::optional<std::string> text = read_attribute(path);
  if (!text) return std::nullopt;
  const bool hexadecimal = text->starts_with("0x");
  const char *first = text->data() + (hexadecimal ? 2 : 0), *end = text->data() + text->size();
  u64 value = 0;
  const auto parsed = std::from_chars(first, end, value, hexadecimal ? 16 : 10);
  if (parsed.ec != std::errc{} || parsed.ptr != end) return std::nullopt;
  return value;
}

std::optional<std::string> link_name(const std::string& path) {
  const Result<std::string> target = sys::read_link(path);
  if (!target) return std::nullopt;
  return target->substr(target->rfind('/') + 1);
}

std::optional<std::string> real_path(const std::string& path) {
  std::error_code error;
  const fs::path real = fs::canonical(path, error);
  if (error) return std::nullopt;
  return real.string();
}

bool exists(const std::string& path) {
  std::error_code error;
  return fs::exists(fs::symlink_status(path, error));
}

std::vector<std::string> list_directory(const std::string& path) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator i(path, error), end; !error && i != end; i.increment(error))
    names.push_back(i->path().filename().string());
  std::ranges::sort(names);
  return names;
}

std::vector<std::vector<std::string>> read_table(const std::string& path) {
  std::vector<std::vector<std::string>> rows;
  std::istringstream text(sys::read_file(path).value_or(""));
  for (std::string line; std::getline(text, line);) {
    std::istringstream words(line);
    std::vector<std::string>& row = rows.emplace_back();
    for (std::string word; words >> word;) row.push_back(std::move(word));
  }
  return rows;
}

bool is_below(std::string_view path, std::string_view directory) {
  return path.size() > directory.size() && path.starts_with(directory) && path[directory.size()] == '/';
}

}  // namespace iommufd::host

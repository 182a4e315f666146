// SPDX-License-Identifier: BSD-3-Clause
// Reading the kernel's attribute files. What is not there, or cannot be read, is nothing: an attribute that a kernel lacks is no error.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.hpp"

namespace iommufd::host {

// Where this machine's own files are.
struct Roots {
  std::string sys = "/sys";
  std::string proc = "/proc";
  std::string dev = "/dev";
  std::string state = "/run/iommufd-user";
};

// Without the newline at its end.
std::optional<std::string> read_attribute(const std::string& path);
// Hexadecimal with 0x in front, or decimal.
std::optional<u64> read_number(const std::string& path);
// The last part of what a link names: a driver, the number of a group.
std::optional<std::string> link_name(const std::string& path);
// The path without links, or nothing when there is no such file.
std::optional<std::string> real_path(const std::string& path);
bool exists(const std::string& path);
// Names, sorted; none when there is no such directory.
std::vector<std::string> list_directory(const std::string& path);
// Its lines, cut at white space.
std::vector<std::vector<std::string>> read_table(const std::string& path);

// Is `path` below `directory`? Both without links.
bool is_below(std::string_view path, std::string_view directory);

}  // namespace iommufd::host

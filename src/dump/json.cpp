// SPDX-License-Identifier: BSD-3-Clause
#include "dump/json.hpp"

#include <fmt/format.h>

namespace iommufd::dump {

void Json::quote(std::string_view value) {
  text_ += '"';
  for (const char c : value) {
    if (c == '"' || c == '\\') text_ += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      text_ += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      text_ += c;
    }
  }
  text_ += '"';
}

void Json::member(std::string_view name) {
  if (!levels_.empty()) {
    Level& level = levels_.back();
    if (!level.empty) text_ += level.layout == Layout::kLines ? "," : ", ";
    if (level.layout == Layout::kLines) text_ += '\n' + std::string(2 * levels_.size(), ' ');
    level.empty = false;
  }
  if (name.empty()) return;
  quote(name);
  text_ += ": ";
}

Json& Json::begin(std::string_view name, char bracket, Layout layout) {
  member(name);
  text_ += bracket;
  levels_.push_back({layout});
  return *this;
}

Json& Json::end(char bracket) {
  const Level level = levels_.back();
  levels_.pop_back();
  if (!level.empty && level.layout == Layout::kLines) text_ += '\n' + std::string(2 * levels_.size(), ' ');
  text_ += bracket;
  if (levels_.empty()) text_ += '\n';
  return *this;
}

Json& Json::text(std::string_view name, std::string_view value) {
  member(name);
  quote(value);
  return *this;
}

Json& Json::number(std::string_view name, u64 value) {
  member(name);
  text_ += fmt::format("{}", value);
  return *this;
}

Json& Json::flag(std::string_view name, bool value) {
  member(name);
  text_ += value ? "true" : "false";
  return *this;
}

Json& Json::address(std::string_view name, u64 value) {
  member(name);
  text_ += fmt::format("\"{:#x}\"", value);
  return *this;
}

Json& Json::raw(std::string_view name, std::string_view json) {
  member(name);
  while (json.ends_with('\n')) json.remove_suffix(1);
  for (const char c : json) {
    text_ += c;
    if (c == '\n') text_ += std::string(2 * levels_.size(), ' ');
  }
  return *this;
}

}  // namespace iommufd::dump

// SPDX-License-Identifier: BSD-3-Clause
// Writes JSON: objects, lists, strings, numbers. Addresses are strings, since most readers of JSON keep no 64 bits.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/types.hpp"

namespace iommufd::dump {

class Json {
 public:
  // Of lists and objects: each member on a line of its own, or all on one.
  enum class Layout : u8 { kLines, kOneLine };

  // `name` is empty for a member of a list.
  Json& begin_object(std::string_view name = {}, Layout layout = Layout::kLines) { return begin(name, '{', layout); }
  Json& begin_list(std::string_view name, Layout layout = Layout::kLines) { return begin(name, '[', layout); }
  Json& end_object() { return end('}'); }
  Json& end_list() { return end(']'); }
  Json& text(std::string_view name, std::string_view value);
  Json& number(std::string_view name, u64 value);
  Json& flag(std::string_view name, bool value);
  Json& address(std::string_view name, u64 value);  // "0x..."
  // JSON that another writer made, indented anew.
  Json& raw(std::string_view name, std::string_view json);

  [[nodiscard]] std::string take() && { return std::move(text_); }

 private:
  Json& begin(std::string_view name, char bracket, Layout layout);
  Json& end(char bracket);
  void member(std::string_view name);
  void quote(std::string_view value);

  struct Level {
    Layout layout;
    bool empty = true;
  };
  std::string text_;
  std::vector<Level> levels_;
};

}  // namespace iommufd::dump

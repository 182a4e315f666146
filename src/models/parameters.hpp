// SPDX-License-Identifier: BSD-3-Clause
// The keys of a model (`-d edu,mmap=on,dma_mask=32`) as data, and the values that a user gave for them. One table per
// model serves the parser, the error texts and `iommufd-user devices`.
#pragma once

#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/types.hpp"

namespace iommufd::models {

struct Key {
  const char* name;
  const char* values;    // "on|off", "BITS"
  const char* fallback;  // what holds when the key is not given
  const char* help;      // one line
};

// A mistake of the user, as a sentence that names the key, the value and what would be right.
struct ConfigError {
  std::string text;
};
template <class T>
using Configured = std::expected<T, ConfigError>;

using KeyValues = std::vector<std::pair<std::string, std::string>>;

// The values of all keys of one model: given ones, or fall-backs.
class Parameters {
 public:
  // Errors: a key that the model does not have (the text lists those it has), a key given twice.
  static Configured<Parameters> parse(std::string_view model, std::span<const Key> keys, const KeyValues& given);

  // "on" or "off"; 1 and 0 say the same.
  [[nodiscard]] Configured<bool> flag(std::string_view key) const;
  // A decimal number in [low, high].
  [[nodiscard]] Configured<u64> number(std::string_view key, u64 low, u64 high) const;
  // A number of bytes in [low, high], with an optional suffix K, M, G or T.
  [[nodiscard]] Configured<u64> bytes(std::string_view key, u64 low, u64 high) const;
  // As it was given.
  [[nodiscard]] const std::string& text(std::string_view key) const { return value(key).text; }
  // Index into `words`.
  [[nodiscard]] Configured<std::size_t> choice(std::string_view key, std::span<const std::string_view> words) const;
  [[nodiscard]] bool given(std::string_view key) const;

 private:
  struct Value {
    std::string_view key;
    std::string text;
    bool given;
  };
  [[nodiscard]] const Value& value(std::string_view key) const;
  std::string model_;
  std::vector<Value> values_;
};

}  // namespace iommufd::models

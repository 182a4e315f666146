// SPDX-License-Identifier: BSD-3-Clause
#include "models/parameters.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/assert.hpp"

namespace iommufd::models {

Configured<Parameters> Parameters::parse(std::string_view model, std::span<const Key> keys, const KeyValues& given) {
  Parameters out;
  out.model_ = model;
  for (const Key& key : keys) out.values_.push_back({key.name, key.fallback, false});
  for (const auto& [name, text] : given) {
    const auto it = std::ranges::find(out.values_, std::string_view(name), &Value::key);
    if (it == out.values_.end()) {
      std::vector<std::string_view> names;
      for (const Key& key : keys) names.emplace_back(key.name);
      return std::unexpected(
          ConfigError{fmt::format("{}: unknown key '{}'; its keys are: {}", model, name, fmt::join(names, ", "))});
    }
    if (it->given) return std::unexpected(ConfigError{fmt::format("{}: key '{}' is given twice", model, name)});
    it->text = text;
    it->given = true;
  }
  return out;
}

Configured<bool> Parameters::flag(std::string_view key) const {
  static constexpr std::array<std::string_view, 2> kWords{"off", "on"};
  const std::string& text = value(key).text;
  if (text == "0" || text == "1") return text == "1";
  const auto index = choice(key, kWords);
  if (!index) return std::unexpected(index.error());
  return *index == 1;
}

Configured<u64> Parameters::number(std::string_view key, u64 low, u64 high) const {
  const std::string& text = value(key).text;
  u64 out = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc{} || stop != text.data() + text.size() || out < low || out > high) {
    return std::unexpected(
        ConfigError{fmt::format("{}: {}={} is not a number from {} to {}", model_, key, text, low, high)});
  }
  return out;
}

Configured<u64> Parameters::bytes(std::string_view key, u64 low, u64 high) const {
  static constexpr std::string_view kUnits = "KMGT";
  const std::string& text = value(key).text;
  u64 out = 0;
  auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  const char* end = text.data() + text.size();
  unsigned shift = 0;
  if (error == std::errc{} && stop + 1 == end) {
    const std::size_t unit = kUnits.find(*stop);
    if (unit != std::string_view::npos) {
      shift = 10 * (static_cast<unsigned>(unit) + 1);
      ++stop;
    }
  }
  const bool fits = out <= (~u64{0} >> shift);
  if (error != std::errc{} || stop != end || !fits || out << shift < low || out << shift > high) {
    return std::unexpected(ConfigError{fmt::format(
        "{}: {}={} is not a size from {} to {} bytes, as in 65536, 64K, 64M, 1G", model_, key, text, low, high)});
  }
  return out << shift;
}

Configured<std::size_t> Parameters::choice(std::string_view key, std::span<const std::string_view> words) const {
  const std::string& text = value(key).text;
  const auto it = std::ranges::find(words, std::string_view(text));
  if (it == words.end()) {
    return std::unexpected(
        ConfigError{fmt::format("{}: {}={} is none of: {}", model_, key, text, fmt::join(words, ", "))});
  }
  return static_cast<std::size_t>(it - words.begin());
}

bool Parameters::given(std::string_view key) const { return value(key).given; }

const Parameters::Value& Parameters::value(std::string_view key) const {
  const auto it = std::ranges::find(values_, key, &Value::key);
  IOMMUFD_ASSERT(it != values_.end());
  return *it;
}

}  // namespace iommufd::models

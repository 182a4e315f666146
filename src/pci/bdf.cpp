// SPDX-License-Identifier: BSD-3-Clause
#include "pci/bdf.hpp"

#include <fmt/format.h>

#include <charconv>

namespace iommufd::pci {
namespace {

// Exactly `digits` hexadecimal digits and then `end` (0: the end of the text).
std::optional<u32> take(std::string_view& text, std::size_t digits, char end) {
  if (text.size() < digits) return std::nullopt;
  u32 value = 0;
  const std::string_view number = text.substr(0, digits);
  const auto [stop, error] = std::from_chars(number.begin(), number.end(), value, 16);
  if (error != std::errc{} || stop != number.end()) return std::nullopt;
  text.remove_prefix(digits);
  if (end == '\0') return text.empty() ? std::optional(value) : std::nullopt;
  if (!text.starts_with(end)) return std::nullopt;
  text.remove_prefix(1);
  return value;
}

}  // namespace

std::optional<Bdf> Bdf::parse(std::string_view text) {
  u32 domain = 0;
  if (text.size() > 7) {
    const auto long_form = take(text, 4, ':');
    if (!long_form) return std::nullopt;
    domain = *long_form;
  }
  const auto bus = take(text, 2, ':');
  const auto device = take(text, 2, '.');
  const auto function = take(text, 1, '\0');
  if (!bus || !device || !function || *device > 0x1f || *function > 7) return std::nullopt;
  return Bdf{static_cast<u16>(domain), static_cast<u8>(*bus), static_cast<u8>(*device), static_cast<u8>(*function)};
}

std::string Bdf::str() const { return fmt::format("{:04x}:{:02x}:{:02x}.{:x}", domain, bus, device, function); }

}  // namespace iommufd::pci

// SPDX-License-Identifier: BSD-3-Clause
// The address of a PCI function: domain, bus, device, function, written DDDD:BB:DD.F as Linux does.
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>

#include "base/types.hpp"

namespace iommufd::pci {

struct Bdf {
  u16 domain = 0;
  u8 bus = 0;
  u8 device = 0;    // 0..31
  u8 function = 0;  // 0..7

  // "0000:00:05.0", or "00:05.0" for domain 0; hexadecimal of either case. Nothing for anything else.
  static std::optional<Bdf> parse(std::string_view text);
  // The long form, lower case.
  [[nodiscard]] std::string str() const;
  // Device and function as VFIO's hot reset structures hold them.
  [[nodiscard]] constexpr u8 devfn() const { return static_cast<u8>(device << 3 | function); }

  friend constexpr auto operator<=>(const Bdf&, const Bdf&) = default;
};

}  // namespace iommufd::pci

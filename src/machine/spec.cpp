// SPDX-License-Identifier: BSD-3-Clause
#include "machine/spec.hpp"

#include <set>

namespace iommufd::machine {

std::optional<pci::Bdf> assign_addresses(std::vector<DeviceSpec>& devices) {
  std::set<pci::Bdf> taken;
  for (const DeviceSpec& d : devices) {
    if (d.address && !taken.insert(*d.address).second) return d.address;
  }
  pci::Bdf next{.domain = 0, .bus = 1};
  for (DeviceSpec& d : devices) {
    if (d.address) continue;
    while (!taken.insert(next).second) {
      ++next.bus;
      if (next.bus == 0) ++next.domain;
    }
    d.address = next;
  }
  return std::nullopt;
}

}  // namespace iommufd::machine

// SPDX-License-Identifier: BSD-3-Clause
#include "machine/spec.hpp"

#include <algorithm>
#include <set>

#include "machine/topology.hpp"

namespace iommufd::machine {

std::optional<pci::Bdf> assign_addresses(std::vector<DeviceSpec>& devices, const std::vector<BridgeSpec>& bridges) {
  std::set<pci::Bdf> taken;
  for (const DeviceSpec& d : devices) {
    if (d.address && !taken.insert(*d.address).second) return d.address;
  }
  pci::Bdf next{.domain = 0, .bus = 1};
  for (DeviceSpec& d : devices) {
    if (d.address) continue;
    while (is_bridged_bus(bridges, next) || !taken.insert(next).second) {
      ++next.bus;
      if (next.bus == 0) ++next.domain;
    }
    d.address = next;
  }
  return std::nullopt;
}

void add_implied_iommus(MachineSpec& spec) {
  for (const DeviceSpec& d : spec.devices) {
    if (d.iommu == kNoIommu || std::ranges::find(spec.iommus, d.iommu, &IommuSpec::name) != spec.iommus.end()) continue;
    if (const auto kind = iommu::parse_kind(d.iommu)) spec.iommus.push_back({d.iommu, *kind, {}});
  }
}

}  // namespace iommufd::machine

// SPDX-License-Identifier: BSD-3-Clause
// IOMMU groups by topology, as Linux makes them: a group is what the IOMMU, or the bridges on the way to it, cannot keep apart.
//
// * What is below a bridge shares the bridge's group, unless access control (ACS) is on from that bridge up to the root.
// * Functions of one slot without ACS share a group.
// * `group` of a device goes before both. Those of its slot and below its bridge that say nothing follow it.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "machine/spec.hpp"

namespace iommufd::machine {

struct Groups {
  std::vector<std::optional<u32>> devices, bridges;  // nothing: there is no IOMMU above it
};
// Numbers that nobody asks for are the lowest free ones, those of bridges before those of devices. (VFIO makes the groups of devices
// without an IOMMU itself, when their driver is bound.) Pre: addresses, secondary buses, no conflict.
Groups assign_groups(const std::vector<BridgeSpec>& bridges, const std::vector<DeviceSpec>& devices);

// The IOMMU that a bridge is behind: that of the first device below it that has one; kNoIommu otherwise.
std::string iommu_of(const BridgeSpec& bridge, const std::vector<BridgeSpec>& bridges,
                     const std::vector<DeviceSpec>& devices);

// Two devices, by index, that one group cannot hold: they are behind different IOMMUs.
struct GroupConflict {
  std::size_t first, second;
};
// By what they say themselves.
std::optional<GroupConflict> find_group_conflict(const std::vector<DeviceSpec>& devices);
// By the bridge above them, once they have addresses.
std::optional<GroupConflict> find_bridge_conflict(const std::vector<BridgeSpec>& bridges,
                                                  const std::vector<DeviceSpec>& devices);

std::string label_text(const GroupLabel& label);

}  // namespace iommufd::machine

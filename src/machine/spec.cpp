// SPDX-License-Identifier: BSD-3-Clause
#include "machine/spec.hpp"

#include <algorithm>
#include <map>
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

void add_implied_iommus(MachineSpec& spec) {
  for (const DeviceSpec& d : spec.devices) {
    if (d.iommu == kNoIommu || std::ranges::find(spec.iommus, d.iommu, &IommuSpec::name) != spec.iommus.end()) continue;
    if (const auto kind = iommu::parse_kind(d.iommu)) spec.iommus.push_back({d.iommu, *kind, {}});
  }
}

std::optional<GroupConflict> find_group_conflict(const std::vector<DeviceSpec>& devices) {
  std::map<GroupLabel, std::size_t> first;
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (!devices[i].group) continue;
    const auto [it, fresh] = first.emplace(*devices[i].group, i);
    if (devices[it->second].iommu != devices[i].iommu) return GroupConflict{it->second, i};
  }
  return std::nullopt;
}

std::vector<u32> assign_groups(const std::vector<DeviceSpec>& devices) {
  std::set<u32> taken;
  for (const DeviceSpec& d : devices)
    if (d.group && std::holds_alternative<u32>(*d.group)) taken.insert(std::get<u32>(*d.group));
  const auto lowest_free = [&taken] {
    u32 number = 0;
    while (!taken.insert(number).second) ++number;
    return number;
  };
  // Functions of one slot cannot be told apart without ACS between them: they share a group, as in Linux.
  const auto same_slot = [](const DeviceSpec& a, const DeviceSpec& b) {
    return a.iommu == b.iommu && a.address->domain == b.address->domain && a.address->bus == b.address->bus &&
           a.address->device == b.address->device;
  };
  // A device that says nothing follows one of its slot that does, wherever that stands.
  const auto label_of = [&](const DeviceSpec& d) {
    if (d.group) return d.group;
    const auto other = std::ranges::find_if(devices, [&](const DeviceSpec& o) { return o.group && same_slot(o, d); });
    return other == devices.end() ? std::nullopt : other->group;
  };
  std::vector<u32> groups(devices.size());
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (devices[i].iommu == kNoIommu) continue;
    const auto label = label_of(devices[i]);
    if (label && std::holds_alternative<u32>(*label)) {
      groups[i] = std::get<u32>(*label);
      continue;
    }
    std::size_t same = 0;
    while (same < i && !(label ? label_of(devices[same]) == label : same_slot(devices[same], devices[i]))) ++same;
    groups[i] = same < i ? groups[same] : lowest_free();
  }
  for (std::size_t i = 0; i < devices.size(); ++i)
    if (devices[i].iommu == kNoIommu) groups[i] = lowest_free();
  return groups;
}

std::string label_text(const GroupLabel& label) {
  const u32* number = std::get_if<u32>(&label);
  return number != nullptr ? std::to_string(*number) : std::get<std::string>(label);
}

}  // namespace iommufd::machine

// SPDX-License-Identifier: BSD-3-Clause
#include "machine/groups.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "machine/topology.hpp"

namespace iommufd::machine {
namespace {

// Is access control on from this bridge up to the root? An upstream port has nothing to control.
bool is_isolating(const Bridges& bridges, const BridgeSpec& bridge) {
  const auto controls = [](const BridgeSpec& b) { return b.acs == Acs::kOn || b.kind == BridgeKind::kUpstream; };
  return controls(bridge) &&
         std::ranges::all_of(bridges_above(bridges, bridge.address), [&](const BridgeSpec* b) { return controls(*b); });
}

// A function of the machine: bridges first, then devices.
struct Member {
  pci::Bdf address;
  std::string iommu;
  bool has_acs;
  std::optional<GroupLabel> label;
};

class Sets {
 public:
  explicit Sets(std::size_t n) : leader_(n) { std::iota(leader_.begin(), leader_.end(), std::size_t{0}); }
  std::size_t find(std::size_t i) const {
    while (leader_[i] != i) i = leader_[i];
    return i;
  }
  // The lower index leads.
  void join(std::size_t a, std::size_t b) {
    a = find(a);
    b = find(b);
    leader_[std::max(a, b)] = std::min(a, b);
  }

 private:
  std::vector<std::size_t> leader_;
};

bool same_slot(const pci::Bdf& a, const pci::Bdf& b) {
  return a.domain == b.domain && a.bus == b.bus && a.device == b.device;
}

std::vector<Member> members_of(const Bridges& bridges, const std::vector<DeviceSpec>& devices) {
  std::vector<Member> out;
  for (const BridgeSpec& b : bridges)
    out.push_back({b.address, iommu_of(b, bridges, devices), b.acs == Acs::kOn, std::nullopt});
  for (const DeviceSpec& d : devices) out.push_back({*d.address, d.iommu, false, d.group});
  return out;
}

// Those who cannot be told apart, of one IOMMU.
Sets inseparable(const Bridges& bridges, const std::vector<Member>& members) {
  Sets sets(members.size());
  for (std::size_t i = 0; i < members.size(); ++i) {
    const Member& m = members[i];
    if (m.iommu == kNoIommu) continue;
    const BridgeSpec* above = bridge_above(bridges, m.address);
    const auto bridge = above != nullptr ? static_cast<std::size_t>(above - bridges.data()) : members.size();
    if (above != nullptr && !is_isolating(bridges, *above) && members[bridge].iommu == m.iommu) sets.join(bridge, i);
    for (std::size_t j = 0; j < i; ++j)
      if (!m.has_acs && !members[j].has_acs && members[j].iommu == m.iommu && same_slot(members[j].address, m.address))
        sets.join(j, i);
  }
  return sets;
}

}  // namespace

Groups assign_groups(const Bridges& bridges, const std::vector<DeviceSpec>& devices) {
  std::vector<Member> members = members_of(bridges, devices);
  const Sets sets = inseparable(bridges, members);
  // A member that says nothing follows the first of its set that does, wherever that stands.
  std::map<std::size_t, GroupLabel> said;
  for (std::size_t i = 0; i < members.size(); ++i)
    if (members[i].label) said.emplace(sets.find(i), *members[i].label);
  for (std::size_t i = 0; i < members.size(); ++i)
    if (const auto it = said.find(sets.find(i)); it != said.end() && !members[i].label) members[i].label = it->second;

  std::set<u32> taken;
  for (const Member& m : members)
    if (m.label && std::holds_alternative<u32>(*m.label)) taken.insert(std::get<u32>(*m.label));
  const auto lowest_free = [&taken] {
    u32 number = 0;
    while (!taken.insert(number).second) ++number;
    return number;
  };
  std::map<GroupLabel, u32> by_label;
  std::map<std::size_t, u32> by_set;
  const auto number_of = [&](std::size_t i) {
    const auto& label = members[i].label;
    if (label && std::holds_alternative<u32>(*label)) return std::get<u32>(*label);
    u32* const number = label ? &by_label.try_emplace(*label, ~u32{0}).first->second
                              : &by_set.try_emplace(sets.find(i), ~u32{0}).first->second;
    if (*number == ~u32{0}) *number = lowest_free();
    return *number;
  };
  Groups groups;
  for (std::size_t i = 0; i < members.size(); ++i) {
    std::vector<std::optional<u32>>& of_kind = i < bridges.size() ? groups.bridges : groups.devices;
    of_kind.push_back(members[i].iommu == kNoIommu ? std::nullopt : std::optional(number_of(i)));
  }
  return groups;
}

std::string iommu_of(const BridgeSpec& bridge, const Bridges& bridges, const std::vector<DeviceSpec>& devices) {
  for (const DeviceSpec& d : devices) {
    if (d.iommu == kNoIommu) continue;
    const auto above = bridges_above(bridges, *d.address);
    if (std::ranges::find(above, &bridge) != above.end()) return d.iommu;
  }
  return std::string(kNoIommu);
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

std::optional<GroupConflict> find_bridge_conflict(const Bridges& bridges, const std::vector<DeviceSpec>& devices) {
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (devices[i].iommu == kNoIommu) continue;
    const auto above = bridges_above(bridges, *devices[i].address);
    for (std::size_t j = 0; j < i; ++j) {
      if (devices[j].iommu == kNoIommu || devices[j].iommu == devices[i].iommu) continue;
      const auto other = bridges_above(bridges, *devices[j].address);
      for (const BridgeSpec* b : above)
        if (std::ranges::find(other, b) != other.end() && !is_isolating(bridges, *b)) return GroupConflict{j, i};
    }
  }
  return std::nullopt;
}

std::string label_text(const GroupLabel& label) {
  const u32* number = std::get_if<u32>(&label);
  return number != nullptr ? std::to_string(*number) : std::get<std::string>(label);
}

}  // namespace iommufd::machine

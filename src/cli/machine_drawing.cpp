// SPDX-License-Identifier: BSD-3-Clause
#include "cli/machine_drawing.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "iommu/kind.hpp"
#include "machine/topology.hpp"

namespace iommufd::cli {
namespace {

// A line of the tree and what hangs below it.
struct Branch {
  std::string text;
  std::vector<Branch> below = {};
};

void draw(std::string& out, const std::vector<Branch>& branches, const std::string& indent) {
  for (const Branch& b : branches) {
    const bool last = &b == &branches.back();
    fmt::format_to(std::back_inserter(out), "{}{} {}\n", indent, last ? "`--" : "|--", b.text);
    draw(out, b.below, indent + (last ? "    " : "|   "));
  }
}

// In the largest unit that leaves no rest.
std::string size_text(u64 bytes) {
  constexpr std::array<std::string_view, 5> kUnits{"bytes", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (unit + 1 < kUnits.size() && bytes != 0 && bytes % 1024 == 0) {
    bytes /= 1024;
    ++unit;
  }
  return fmt::format("{} {}", bytes, kUnits[unit]);
}

std::string memory_text(const machine::PhysSpec& spec) {
  const mem::PhysPolicy policy = machine::phys_policy(spec);
  const bool has_hole =
      policy.base < u64{4} << 30 && policy.size > (u64{3} << 30) - std::min(policy.base, u64{3} << 30);
  const std::string where = fmt::format("from {:#x}, {}{}", policy.base, size_text(policy.size),
                                        has_hole ? " less the hole of 3 GiB to 4 GiB" : "");
  if (policy.kind == mem::PhysPolicy::Kind::kContiguous) return fmt::format("contiguous, {}", where);
  return fmt::format("fragmented, seed {}, {}", policy.seed, where);
}

Branch device_branch(const machine::Machine& machine, const machine::MachineDevice& device) {
  std::string text = fmt::format("{}  {}", device.spec.address->str(), device.spec.model);
  for (const auto& [key, value] : device.spec.keys) fmt::format_to(std::back_inserter(text), " {}={}", key, value);
  const Ref<vfio::Device> vfio = machine.vfio(device);
  text += vfio ? fmt::format("  /dev/vfio/devices/{}", vfio->name()) : "  no node: enable_unsafe_noiommu_mode is off";
  return {std::move(text)};
}

std::string bus_text(u8 first, u8 last) {
  return first == last ? fmt::format("bus {:02x}", first) : fmt::format("buses {:02x} to {:02x}", first, last);
}

// What is on the bus of a bridge; null: the bridges on root buses.
std::vector<Branch> bus_branches(const machine::Machine& machine, const machine::MachineBridge* above) {
  std::vector<Branch> out;
  const auto is_here = [&](const pci::Bdf& at, const std::vector<pci::Bdf>* bridges) {
    if (above == nullptr) return bridges != nullptr && bridges->empty();
    const pci::Bridge::Spec& bridge = above->bridge.spec();
    return at.domain == bridge.bdf.domain && at.bus == bridge.secondary;
  };
  for (const auto& bridge : machine.bridges()) {
    const pci::Bridge::Spec& spec = bridge->bridge.spec();
    if (!is_here(spec.bdf, &spec.bridges)) continue;
    std::string text = fmt::format("{}  {}, {}", spec.bdf.str(), machine::kind_text(bridge->spec.kind),
                                   bus_text(spec.secondary, spec.subordinate));
    if (bridge->spec.acs == machine::Acs::kOn) text += ", acs";
    if (bridge->iommu != nullptr) fmt::format_to(std::back_inserter(text), "  group {}", bridge->group_id);
    out.push_back({std::move(text), bus_branches(machine, bridge.get())});
  }
  for (const auto& device : machine.devices())
    if (is_here(*device->spec.address, nullptr))
      out.push_back({fmt::format("{}  {}", device->spec.address->str(), device->spec.model)});
  return out;
}

// The groups behind an IOMMU, or those without one, by number; then devices that VFIO has not taken.
std::vector<Branch> group_branches(const machine::Machine& machine, const iommu::Instance* iommu) {
  std::vector<Ref<vfio::Group>> groups;
  for (const auto& group : machine.vfio().groups())
    if (group->iommu() == iommu) groups.push_back(group);
  std::ranges::sort(groups, {}, [](const auto& group) { return group->id(); });
  std::vector<Branch> out;
  for (const Ref<vfio::Group>& group : groups) {
    Branch& branch = out.emplace_back(Branch{fmt::format("group {}  /dev/vfio/{}", group->id(), group->name())});
    for (const auto& device : machine.devices())
      if (const auto vfio = machine.vfio(*device); vfio && &vfio->group() == group.get())
        branch.below.push_back(device_branch(machine, *device));
  }
  for (const auto& device : machine.devices())
    if (!machine.vfio(*device) && device->physical.iommu == iommu) out.push_back(device_branch(machine, *device));
  return out;
}

}  // namespace

std::string draw_machine(const machine::MachineSpec& spec, const machine::Machine& machine) {
  std::string out = fmt::format("memory     {}\n", memory_text(spec.phys));
  const bool native = spec.container == machine::ContainerKind::kNative;
  out += fmt::format("container  {}\n", native ? "native" : "iommufd");
  if (spec.selftest == machine::Selftest::kOn) out += "selftest   on\n";
  if (!spec.bridges.empty()) {
    out += "\nbridges\n";
    draw(out, bus_branches(machine, nullptr), "");
  }
  for (std::size_t i = 0; i < spec.iommus.size(); ++i) {
    const machine::IommuSpec& iommu = spec.iommus[i];
    const iommu::Instance& instance = *machine.iommus()[i];
    out += fmt::format("\n{}  {}, {}\n", iommu.name, iommu::kind_name(iommu.kind), instance.name());
    std::vector<Branch> below;
    for (const iommu::ReservedRegion& r : instance.reserved())
      below.push_back(
          {fmt::format("reserved {:#x} to {:#x}  {}", r.range.start, r.range.last, reserved_type_name(r.type))});
    std::ranges::move(group_branches(machine, &instance), std::back_inserter(below));
    draw(out, below, "");
  }
  if (const auto without = group_branches(machine, nullptr); !without.empty()) {
    out += fmt::format("\nno IOMMU  enable_unsafe_noiommu_mode is {}\n",
                       spec.noiommu == machine::NoiommuMode::kOn ? "on" : "off");
    draw(out, without, "");
  }
  return out;
}

}  // namespace iommufd::cli

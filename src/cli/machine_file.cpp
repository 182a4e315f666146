// SPDX-License-Identifier: BSD-3-Clause
#include "cli/machine_file.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "cli/device_value.hpp"
#include "cli/machine_bridges.hpp"
#include "cli/read_file.hpp"
#include "cli/suggest.hpp"
#include "cli/yaml_entry.hpp"
#include "iommu/kind.hpp"
#include "machine/groups.hpp"
#include "machine/machine.hpp"
#include "mem/physical_memory.hpp"

namespace iommufd::cli {
namespace {

constexpr std::size_t kMaxFile = 1 << 20;

constexpr std::array<std::string_view, 7> kMachineKeys{"iommus", "bridges",   "devices", "noiommu",
                                                       "phys",   "container", "selftest"};
constexpr std::array<std::string_view, 3> kIommuKeys{"name", "kind", "reserved"};
constexpr std::array<std::string_view, 4> kRangeKeys{"type", "start", "last", "size"};
constexpr std::array<std::string_view, 4> kPhysKeys{"layout", "seed", "base", "size"};
constexpr std::array<std::string_view, 1> kNoiommuKeys{"enable_unsafe_noiommu_mode"};

constexpr std::string_view kAddressText = "an address: 4096, 0x100000, 64M";
constexpr std::string_view kSizeText = "a size: 4096, 0x100000, 64M";

// ---- IOMMUs ------------------------------------------------------------------------------------------------

Parsed<iommu::Kind> parse_iommu_kind(std::string_view text) {
  std::vector<std::string_view> names;
  for (const iommu::KindInfo& info : iommu::device_kinds())
    if (info.kind != iommu::Kind::kNone) names.push_back(info.name);
  if (std::ranges::find(names, text) != names.end()) return *iommu::parse_kind(text);
  return std::unexpected(
      fmt::format("{} is none of {}{}{}", text, fmt::join(names, ", "), suggestion(text, names),
                  text == machine::kNoIommu ? "; a device without an IOMMU says so itself: iommu: none" : ""));
}

Parsed<iommu::ReservedType> parse_range_type(std::string_view text) {
  if (const auto type = iommu::parse_reserved_type(text)) return *type;
  constexpr std::array<std::string_view, 3> kTypes{"msi", "direct", "reserved"};
  return std::unexpected(fmt::format("{} is none of {}{}", text, fmt::join(kTypes, ", "), suggestion(text, kTypes)));
}

Parsed<u64> aligned(const YamlEntry& entry, std::string_view what) {
  const u64 value = IOMMUFD_TRY(entry.parse(parse_size, what));
  if (!is_aligned(value, kPageSize)) return entry.wrong("is not a multiple of the page size (4096)");
  return value;
}

Parsed<iommu::ReservedRegion> parse_range(const YamlEntry& entry) {
  const YamlMap map = IOMMUFD_TRY(entry.map("a map of type, start, and last or size"));
  IOMMUFD_TRY(map.only(kRangeKeys, "a reserved range"));
  iommu::ReservedRegion region;
  const auto type = IOMMUFD_TRY(map.require("type", "write msi, direct or reserved"));
  region.type = IOMMUFD_TRY(type.parse(parse_range_type, "msi, direct or reserved"));
  const auto start = IOMMUFD_TRY(map.require("start", "write where the range begins"));
  region.range.start = IOMMUFD_TRY(aligned(start, kAddressText));
  const YamlEntry *last = map.find("last"), *size = map.find("size");
  if ((last == nullptr) == (size == nullptr))
    return entry.wrong(last == nullptr ? "has no end; write 'last' (the last address) or 'size'"
                                       : "has both 'last' and 'size'; write one of them");
  if (size != nullptr) {
    const u64 bytes = IOMMUFD_TRY(aligned(*size, kSizeText));
    if (bytes == 0) return size->wrong("is 0; a range has at least one page (4096)");
    if (bytes - 1 > ~u64{0} - region.range.start)
      return size->wrong(fmt::format("leads from {:#x} past the last address, 2^64 - 1", region.range.start));
    region.range.last = region.range.start + (bytes - 1);
    return region;
  }
  region.range.last = IOMMUFD_TRY(last->parse(parse_size, kAddressText));
  if (region.range.last < region.range.start)
    return last->wrong(fmt::format("{:#x} is before the start, {:#x}", region.range.last, region.range.start));
  if (!is_aligned(region.range.last + 1, kPageSize))
    return last->wrong("is not the last address of a page; it is the last one that belongs to the range: 0x...fff");
  return region;
}

bool is_name(std::string_view text) {
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  };
  return !text.empty() && std::ranges::all_of(text, good);
}

Parsed<machine::IommuSpec> parse_iommu(const YamlEntry& entry, const std::vector<machine::IommuSpec>& before) {
  const YamlMap map = IOMMUFD_TRY(entry.map("a map of name, kind, reserved"));
  IOMMUFD_TRY(map.only(kIommuKeys, "an IOMMU"));
  machine::IommuSpec spec;
  const auto kind = IOMMUFD_TRY(map.require("kind", "write which IOMMU it is: kind: amd"));
  spec.kind = IOMMUFD_TRY(kind.parse(parse_iommu_kind, "a kind of IOMMU, such as amd"));
  const auto name = IOMMUFD_TRY(map.require("name", "devices need it to say that they are behind it"));
  spec.name = IOMMUFD_TRY(name.text("a name"));
  if (!is_name(spec.name))
    return name.wrong(fmt::format("'{}' is not a name; use letters, digits, '-', '_' and '.'", spec.name));
  if (spec.name == machine::kNoIommu) return name.wrong("'none' means that there is no IOMMU; choose another name");
  if (const auto other = iommu::parse_kind(spec.name); other && *other != spec.kind)
    return name.wrong(fmt::format("'{}' is a kind, and this one is of kind {}; choose another name", spec.name,
                                  iommu::kind_name(spec.kind)));
  if (std::ranges::find(before, spec.name, &machine::IommuSpec::name) != before.end())
    return name.wrong(fmt::format("'{}' is the name of another IOMMU; choose another one", spec.name));
  if (const YamlEntry* reserved = map.find("reserved"))
    for (const YamlEntry& range : IOMMUFD_TRY(reserved->list("a list of reserved ranges")))
      spec.reserved.push_back(IOMMUFD_TRY(parse_range(range)));
  return spec;
}

// ---- devices -----------------------------------------------------------------------------------------------

constexpr std::string_view kModelKey = "model";

Parsed<machine::DeviceSpec> parse_device_entry(const YamlEntry& entry, const std::vector<machine::IommuSpec>& iommus) {
  const YamlMap map = IOMMUFD_TRY(entry.map("a map of model, iommu, addr and so on"));
  const auto model = IOMMUFD_TRY(map.require(kModelKey, "write which device it is: model: edu"));
  machine::DeviceSpec spec = new_device(IOMMUFD_TRY(model.text("the name of a model")));
  const auto found = find_model(spec.model);
  if (!found) return model.wrong(found.error());
  std::vector<std::string_view> known = device_keys(**found);
  known.insert(known.begin(), kModelKey);
  IOMMUFD_TRY(map.only(known, fmt::format("an {} device", spec.model)));
  for (const YamlMap::Member& member : map.members()) {
    if (member.name == kModelKey) continue;
    const std::string value = IOMMUFD_TRY(member.value.text("one value"));
    if (const auto set = set_device_key(spec, member.name, value, iommus); !set) return member.value.wrong(set.error());
  }
  if (const auto good = check_device(spec); !good) {
    const YamlEntry* group = map.find("group");
    return (group != nullptr && spec.group ? *group : entry).wrong(good.error());
  }
  return spec;
}

Parsed<void> parse_devices(const YamlEntry& entry, machine::MachineSpec& spec) {
  const std::vector<YamlEntry> entries = IOMMUFD_TRY(entry.list("a list of devices"));
  // What is wrong with a key of a device that has it.
  const auto wrong = [&entries](std::size_t device, std::string_view key, std::string_view what) {
    return entries[device].map("").value().find(key)->wrong(what);
  };
  std::map<pci::Bdf, std::size_t> addresses;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    spec.devices.push_back(IOMMUFD_TRY(parse_device_entry(entries[i], spec.iommus)));
    const auto& address = spec.devices.back().address;
    if (!address) continue;
    if (const auto [first, fresh] = addresses.emplace(*address, i); !fresh)
      return wrong(i, "addr",
                   fmt::format("{} is the address of devices[{}] too (line {}); change one of them, or leave it out",
                               address->str(), first->second, entries[first->second].line()));
  }
  if (const auto conflict = machine::find_group_conflict(spec.devices)) {
    const machine::DeviceSpec &a = spec.devices[conflict->first], &b = spec.devices[conflict->second];
    return wrong(
        conflict->second, "group",
        fmt::format("{} is the group of devices[{}] too (line {}), behind {}, and this device is behind {}; a "
                    "group has one IOMMU: choose another group",
                    machine::label_text(*a.group), conflict->first, entries[conflict->first].line(), a.iommu, b.iommu));
  }
  return {};
}

// ---- policies ----------------------------------------------------------------------------------------------

Parsed<machine::PhysSpec::Kind> parse_layout(std::string_view text) {
  using Kind = machine::PhysSpec::Kind;
  if (text == "fragmented") return Kind::kFragmented;
  if (text == "contiguous") return Kind::kContiguous;
  constexpr std::array<std::string_view, 2> kLayouts{"fragmented", "contiguous"};
  return std::unexpected(
      fmt::format("{} is none of {}{}", text, fmt::join(kLayouts, ", "), suggestion(text, kLayouts)));
}

Parsed<machine::PhysSpec> parse_phys_entry(const YamlEntry& entry) {
  using Kind = machine::PhysSpec::Kind;
  const YamlMap map = IOMMUFD_TRY(entry.map("a map of layout, seed, base, size"));
  IOMMUFD_TRY(map.only(kPhysKeys, "phys"));
  machine::PhysSpec spec;
  if (const YamlEntry* layout = map.find("layout"))
    spec.kind = IOMMUFD_TRY(layout->parse(parse_layout, "fragmented or contiguous"));
  if (const YamlEntry* seed = map.find("seed")) {
    if (spec.kind != Kind::kFragmented) return seed->wrong("only 'layout: fragmented' has a seed; leave it out");
    spec.seed = IOMMUFD_TRY(seed->parse(parse_number, "a number"));
  }
  for (const auto& [name, field] : {std::pair("base", &spec.base), std::pair("size", &spec.size)}) {
    const YamlEntry* number = map.find(name);
    if (number == nullptr) continue;
    if (spec.kind != Kind::kContiguous)
      return number->wrong(fmt::format("only 'layout: contiguous' has a {}; leave it out", name));
    *field = IOMMUFD_TRY(aligned(*number, field == &spec.base ? kAddressText : kSizeText));
  }
  if (spec.size == u64{0}) return map.find("size")->wrong("a machine without memory cannot do DMA");
  if (const auto memory = mem::PhysicalMemory::create(machine::phys_policy(spec));
      !memory && memory.error() == Errno::kInval)
    return entry.wrong(
        "no usable memory lies between base and base + size: it needs whole 2 MiB blocks outside 3 GiB to 4 GiB "
        "and below 64 TiB");
  return spec;
}

Parsed<void> parse_noiommu(const YamlEntry& entry, machine::MachineSpec& spec) {
  const YamlMap map = IOMMUFD_TRY(entry.map("a map of enable_unsafe_noiommu_mode"));
  IOMMUFD_TRY(map.only(kNoiommuKeys, "noiommu"));
  if (const YamlEntry* entered = map.find(kNoiommuKeys[0])) {
    const bool on = IOMMUFD_TRY(entered->truth());
    spec.noiommu = on ? machine::NoiommuMode::kOn : machine::NoiommuMode::kOff;
  }
  return {};
}

}  // namespace

Parsed<machine::MachineSpec> parse_machine(const std::string& text, const std::string& name) {
  const YamlEntry root = IOMMUFD_TRY(YamlEntry::load(text, name));
  const YamlMap map = IOMMUFD_TRY(root.map(fmt::format("a map of {}", fmt::join(kMachineKeys, ", "))));
  IOMMUFD_TRY(map.only(kMachineKeys, "a machine"));
  machine::MachineSpec spec;
  if (const YamlEntry* iommus = map.find("iommus"))
    for (const YamlEntry& entry : IOMMUFD_TRY(iommus->list("a list of IOMMUs")))
      spec.iommus.push_back(IOMMUFD_TRY(parse_iommu(entry, spec.iommus)));
  if (const YamlEntry* bridges = map.find("bridges")) spec.bridges = IOMMUFD_TRY(parse_bridges(*bridges));
  if (const YamlEntry* devices = map.find("devices")) IOMMUFD_TRY(parse_devices(*devices, spec));
  IOMMUFD_TRY(check_topology(spec, map.find("bridges"), map.find("devices")));
  if (const YamlEntry* noiommu = map.find("noiommu")) IOMMUFD_TRY(parse_noiommu(*noiommu, spec));
  if (const YamlEntry* phys = map.find("phys")) spec.phys = IOMMUFD_TRY(parse_phys_entry(*phys));
  if (const YamlEntry* container = map.find("container"))
    spec.container = IOMMUFD_TRY(container->parse(parse_container, "native or iommufd"));
  if (const YamlEntry* selftest = map.find("selftest")) {
    const bool on = IOMMUFD_TRY(selftest->truth());
    spec.selftest = on ? machine::Selftest::kOn : machine::Selftest::kOff;
  }
  return spec;
}

Parsed<machine::MachineSpec> load_machine(const std::string& path) {
  return parse_machine(IOMMUFD_TRY(read_file(path, kMaxFile)), path);
}

}  // namespace iommufd::cli

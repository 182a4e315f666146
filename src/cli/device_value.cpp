// SPDX-License-Identifier: BSD-3-Clause
// Also parse_device() of values.hpp.
#include "cli/device_value.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <utility>

#include "base/result.hpp"
#include "cli/read_file.hpp"
#include "cli/suggest.hpp"
#include "iommu/kind.hpp"
#include "machine/kinds.hpp"

namespace iommufd::cli {
namespace {

constexpr std::string_view kAddress = "addr", kIommu = "iommu", kGroup = "group", kRom = "rom";
// What stands before the identity, whose keys have values of one form.
constexpr std::array kCommon{
    models::Key{"addr", "DDDD:BB:DD.F", "next free", "PCI address"},
    models::Key{"iommu", "KIND", "amd", "what translates its DMA (see below)"},
    models::Key{"group", "NAME|NUMBER", "by topology", "devices behind one IOMMU that share a group"},
    models::Key{"rom", "FILE", "none", "what its expansion ROM holds, up to 16 MiB"},
    models::Key{"vendor", "NUMBER", "the model's",
                "vendor id, for programs that choose devices by it: 0x... or decimal"},
    models::Key{"device", "NUMBER", "the model's", "device id"},
    models::Key{"subsystem_vendor", "NUMBER", "the model's", "subsystem vendor id"},
    models::Key{"subsystem_device", "NUMBER", "the model's", "subsystem id"},
    models::Key{"class", "NUMBER", "the model's", "class code of 24 bits: base, sub, programming interface"},
    models::Key{"revision", "NUMBER", "the model's", "revision id"},
};
constexpr u64 kNoVendor = 0xffff;  // what an empty slot reads

bool is_common(std::string_view key) {
  return std::ranges::any_of(kCommon, [&](const models::Key& k) { return key == k.name; });
}
constexpr u64 kLastGroup = 0x7fff'ffff;    // an int in the kernel
constexpr std::size_t kMaxRom = 16 << 20;  // PCI 3.0, 6.2.5.2

Parsed<std::string> parse_iommu(std::string_view text, const std::vector<machine::IommuSpec>& iommus) {
  std::vector<std::string_view> names;
  const auto add = [&names](std::string_view name) {
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  };
  for (const machine::IommuSpec& iommu : iommus) add(iommu.name);
  for (const iommu::KindInfo& kind : iommu::device_kinds()) add(kind.name);
  if (std::ranges::find(names, text) != names.end()) return std::string(text);
  return std::unexpected(fmt::format("{} is none of {}{}", text, fmt::join(names, ", "), suggestion(text, names)));
}

Parsed<machine::GroupLabel> parse_group(std::string_view text) {
  if (text.empty()) return std::unexpected("no group is named; write a number, or a name of your own");
  if (text.front() < '0' || text.front() > '9') return std::string(text);
  const Parsed<u64> number = parse_number(text);
  if (!number || *number > kLastGroup)
    return std::unexpected(
        fmt::format("{} is not the number of a group (0 to {}); a name begins with a letter", text, kLastGroup));
  return static_cast<u32>(*number);
}

Parsed<std::shared_ptr<const std::vector<u8>>> load_rom(std::string_view path) {
  const auto content = read_file(std::string(path), kMaxRom);
  if (!content) return std::unexpected(content.error());
  if (content->empty()) return std::unexpected(fmt::format("{}: is empty; an expansion ROM has an image", path));
  return std::make_shared<const std::vector<u8>>(content->begin(), content->end());
}

template <class T>
Parsed<void> set_number(std::optional<T>& to, std::string_view text, u64 last = std::numeric_limits<T>::max()) {
  const Parsed<u64> number = parse_number(text);
  if (!number) return std::unexpected(number.error());
  if (*number > last) return std::unexpected(fmt::format("{} is too large: at most {:#x}", text, last));
  to = static_cast<T>(*number);
  return {};
}

// Nothing: the key is another one.
std::optional<Parsed<void>> set_identity(machine::Identity& identity, std::string_view key, std::string_view text) {
  constexpr u64 kLastClass = 0xff'ffff;
  if (key == "vendor") {
    Parsed<void> set = set_number(identity.vendor, text);
    if (set && identity.vendor == kNoVendor) return std::unexpected("0xffff is what an empty slot reads, and nobody's");
    return set;
  }
  if (key == "device") return set_number(identity.device, text);
  if (key == "subsystem_vendor") return set_number(identity.subsystem_vendor, text);
  if (key == "subsystem_device") return set_number(identity.subsystem_device, text);
  if (key == "class") return set_number(identity.class_code, text, kLastClass);
  if (key == "revision") return set_number(identity.revision, text);
  return {};
}

// The model knows which values its keys take.
Parsed<void> configure(std::string_view model, const models::KeyValues& keys) {
  models::Poller unused;
  if (const auto blueprint = machine::find_kind(model)->configure(keys, unused); !blueprint)
    return std::unexpected(blueprint.error().text);
  return {};
}

}  // namespace

Parsed<pci::Bdf> parse_address(std::string_view text) {
  if (const auto bdf = pci::Bdf::parse(text)) return *bdf;
  return std::unexpected(
      fmt::format("{} is not a PCI address; write domain:bus:device.function in hexadecimal, e.g. 0000:01:00.0", text));
}

std::span<const models::Key> common_device_keys() { return kCommon; }

Parsed<const models::Kind*> find_model(std::string_view name) {
  if (const models::Kind* kind = machine::find_kind(name)) return kind;
  std::vector<std::string_view> names;
  for (const models::Kind& kind : machine::all_kinds()) names.emplace_back(kind.name);
  if (name.empty())
    return std::unexpected(fmt::format("no model is named; the models are: {}", fmt::join(names, ", ")));
  return std::unexpected(
      fmt::format("unknown model '{}'{}; the models are: {}", name, suggestion(name, names), fmt::join(names, ", ")));
}

std::vector<std::string_view> device_keys(const models::Kind& model) {
  std::vector<std::string_view> names;
  names.reserve(kCommon.size() + model.keys.size());
  for (const models::Key& key : kCommon) names.emplace_back(key.name);
  for (const models::Key& key : model.keys) names.emplace_back(key.name);
  return names;
}

Parsed<void> set_device_key(machine::DeviceSpec& spec, std::string_view key, std::string_view value,
                            const std::vector<machine::IommuSpec>& iommus) {
  if (machine::is_real(spec) && is_common(key) && key != kAddress) {
    if (key == kIommu && value == machine::kNoIommu) return {};
    return std::unexpected(fmt::format(
        "{} is not for us to say: a function of this machine is what it is, and no IOMMU manages it; leave '{}' out",
        value, key));
  }
  if (key == kIommu) {
    spec.iommu = IOMMUFD_TRY(parse_iommu(value, iommus));
  } else if (key == kAddress) {
    spec.address = IOMMUFD_TRY(parse_address(value));
  } else if (key == kGroup) {
    spec.group = IOMMUFD_TRY(parse_group(value));
  } else if (key == kRom) {
    spec.rom = IOMMUFD_TRY(load_rom(value));
  } else if (const auto set = set_identity(spec.identity, key, value)) {
    return *set;
  } else {
    IOMMUFD_TRY(configure(spec.model, {{std::string(key), std::string(value)}}));
    spec.keys.emplace_back(key, value);
  }
  return {};
}

machine::DeviceSpec new_device(std::string_view model) {
  machine::DeviceSpec spec;
  spec.model = model;
  if (machine::is_real(spec)) spec.iommu = machine::kNoIommu;
  return spec;
}

Parsed<void> check_device(const machine::DeviceSpec& spec) {
  if (machine::is_real(spec) && !spec.address)
    return std::unexpected(
        "addr=BDF is missing: which function of this machine? `iommufd-user devices --host` lists them");
  if (spec.group && spec.iommu == machine::kNoIommu)
    return std::unexpected("a device without an IOMMU has a group of its own; leave 'group' out");
  return configure(spec.model, spec.keys);
}

std::string unknown_key(std::string_view key, const std::vector<std::string_view>& known, std::string_view owner) {
  return fmt::format("unknown key '{}'{}; the keys of {} are: {}", key, suggestion(key, known), owner,
                     fmt::join(known, ", "));
}

Parsed<machine::DeviceSpec> parse_device(std::string_view text, const std::vector<machine::IommuSpec>& iommus) {
  machine::DeviceSpec spec = new_device(text.substr(0, text.find(',')));
  const models::Kind* kind = IOMMUFD_TRY(find_model(spec.model));
  const auto known = device_keys(*kind);
  std::vector<std::string_view> seen;
  for (std::string_view rest = text.substr(spec.model.size()); !rest.empty();) {
    rest.remove_prefix(1);
    const std::string_view item = rest.substr(0, rest.find(','));
    rest.remove_prefix(item.size());
    const std::size_t equals = item.find('=');
    const std::string_view key = item.substr(0, equals);
    if (std::ranges::find(known, key) == known.end()) return std::unexpected(unknown_key(key, known, spec.model));
    if (equals == std::string_view::npos)
      return std::unexpected(fmt::format("key '{0}' has no value; write {0}=VALUE", key));
    if (std::ranges::find(seen, key) != seen.end()) return std::unexpected(fmt::format("key '{}' is given twice", key));
    seen.push_back(key);
    if (const auto set = set_device_key(spec, key, item.substr(equals + 1), iommus); !set) {
      return std::unexpected(is_common(key) ? fmt::format("{}={}", key, set.error()) : set.error());
    }
  }
  IOMMUFD_TRY(check_device(spec));
  return spec;
}

}  // namespace iommufd::cli

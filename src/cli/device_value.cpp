// SPDX-License-Identifier: BSD-3-Clause
// parse_device() of values.hpp: one -d, checked against the models there are.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <ranges>
#include <vector>

#include "cli/suggest.hpp"
#include "cli/values.hpp"
#include "iommu/kind.hpp"
#include "models/registry.hpp"

namespace iommufd::cli {
namespace {

constexpr std::string_view kAddress = "addr", kIommu = "iommu";

std::vector<std::string_view> model_names() {
  std::vector<std::string_view> names;
  for (const models::Kind& kind : models::all()) names.emplace_back(kind.name);
  return names;
}

// Keys of every device, then those of the model.
std::vector<std::string_view> key_names(const models::Kind& kind) {
  std::vector<std::string_view> names{kAddress, kIommu};
  for (const models::Key& key : kind.keys) names.emplace_back(key.name);
  return names;
}

Parsed<iommu::Kind> parse_iommu(std::string_view text) {
  if (const auto kind = iommu::parse_kind(text)) return *kind;
  return std::unexpected(
      fmt::format("iommu={} is none of {}", text,
                  fmt::join(iommu::device_kinds() | std::views::transform(&iommu::KindInfo::name), ", ")));
}

Parsed<void> set_common(machine::DeviceSpec& spec, std::string_view key, std::string_view value) {
  if (key == kIommu) {
    const auto kind = parse_iommu(value);
    if (!kind) return std::unexpected(kind.error());
    spec.iommu = *kind;
    return {};
  }
  spec.address = pci::Bdf::parse(value);
  if (!spec.address) {
    return std::unexpected(fmt::format(
        "addr={} is not a PCI address; write domain:bus:device.function in hexadecimal, e.g. addr=0000:01:00.0",
        value));
  }
  return {};
}

}  // namespace

Parsed<machine::DeviceSpec> parse_device(std::string_view text) {
  machine::DeviceSpec spec;
  spec.model = text.substr(0, text.find(','));
  const models::Kind* kind = models::find(spec.model);
  if (kind == nullptr) {
    const auto names = model_names();
    if (spec.model.empty())
      return std::unexpected(fmt::format("no model is named; the models are: {}", fmt::join(names, ", ")));
    return std::unexpected(fmt::format("unknown model '{}'{}; the models are: {}", spec.model,
                                       suggestion(spec.model, names), fmt::join(names, ", ")));
  }
  const auto known = key_names(*kind);
  std::vector<std::string_view> seen;
  for (std::string_view rest = text.substr(spec.model.size()); !rest.empty();) {
    rest.remove_prefix(1);
    const std::string_view item = rest.substr(0, rest.find(','));
    rest.remove_prefix(item.size());
    const std::size_t equals = item.find('=');
    const std::string_view key = item.substr(0, equals);
    if (std::ranges::find(known, key) == known.end()) {
      return std::unexpected(fmt::format("unknown key '{}'{}; the keys of {} are: {}", key, suggestion(key, known),
                                         spec.model, fmt::join(known, ", ")));
    }
    if (equals == std::string_view::npos)
      return std::unexpected(fmt::format("key '{0}' has no value; write {0}=VALUE", key));
    if (std::ranges::find(seen, key) != seen.end()) return std::unexpected(fmt::format("key '{}' is given twice", key));
    seen.push_back(key);
    const std::string_view value = item.substr(equals + 1);
    if (key != kAddress && key != kIommu) {
      spec.keys.emplace_back(key, value);
      continue;
    }
    if (const auto set = set_common(spec, key, value); !set) return std::unexpected(set.error());
  }
  // The model knows which values its keys take.
  models::Poller unused;
  if (const auto blueprint = kind->configure(spec.keys, unused); !blueprint)
    return std::unexpected(blueprint.error().text);
  return spec;
}

}  // namespace iommufd::cli

// SPDX-License-Identifier: BSD-3-Clause
#include "cli/devices.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <vector>

#include "cli/device_value.hpp"
#include "iommu/kind.hpp"
#include "machine/kinds.hpp"

namespace iommufd::cli {
namespace {

struct Row {
  std::string_view key, values, fallback, help;
};

// Columns as wide as their widest cell.
void print_rows(std::string& out, const std::vector<Row>& rows) {
  std::size_t key = 0, values = 0, fallback = 0;
  for (const Row& r : rows) {
    key = std::max(key, r.key.size());
    values = std::max(values, r.values.size());
    fallback = std::max(fallback, r.fallback.size());
  }
  for (const Row& r : rows) {
    fmt::format_to(std::back_inserter(out), "  {:{}}  {:{}}  {:{}}  {}\n", r.key, key, r.values, values, r.fallback,
                   fallback, r.help);
  }
}

constexpr Row kHead{"KEY", "VALUES", "DEFAULT", "MEANING"};

}  // namespace

std::string describe_devices() {
  std::string out = "A device is -d MODEL[,KEY=VALUE...].\n";
  for (const models::Kind& kind : machine::all_kinds()) {
    fmt::format_to(std::back_inserter(out), "\n{}: {}\n", kind.name, kind.summary);
    std::vector<Row> rows{kHead};
    const auto add = [&](const models::Key& key) { rows.push_back({key.name, key.values, key.fallback, key.help}); };
    std::ranges::for_each(common_device_keys(), add);
    std::ranges::for_each(kind.keys, add);
    print_rows(out, rows);
  }
  out += "\nKinds of IOMMU:\n";
  for (const iommu::KindInfo& kind : iommu::device_kinds())
    fmt::format_to(std::back_inserter(out), "  {:<7} {}\n", kind.name, kind.summary);
  return out + R"(With "none" the device puts physical addresses on the bus. It is noiommu-vfioN, and needs
--enable-unsafe-noiommu-mode.
)";
}

}  // namespace iommufd::cli

// SPDX-License-Identifier: BSD-3-Clause
#include "cli/host_commands.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>
#include <vector>

#include "host/binding.hpp"
#include "host/guardian.hpp"

namespace iommufd::cli {
namespace {

// The classes that one meets (PCI Code and ID Assignment); the word is for people.
struct ClassName {
  u32 base_and_sub;
  std::string_view name;
};
constexpr std::array kClasses{
    ClassName{0x0101, "ide"},     ClassName{0x0104, "raid"},        ClassName{0x0106, "sata"},
    ClassName{0x0107, "sas"},     ClassName{0x0108, "nvme"},        ClassName{0x0200, "ethernet"},
    ClassName{0x0280, "network"}, ClassName{0x0300, "vga"},         ClassName{0x0302, "3d"},
    ClassName{0x0403, "audio"},   ClassName{0x0600, "host bridge"}, ClassName{0x0601, "isa bridge"},
    ClassName{0x0604, "bridge"},  ClassName{0x0880, "system"},      ClassName{0x0c03, "usb"},
    ClassName{0x0c05, "smbus"},   ClassName{0x1200, "accelerator"},
};

std::string class_text(u32 class_code) {
  const u32 base_and_sub = class_code >> 8;
  const auto known = std::ranges::find(kClasses, base_and_sub, &ClassName::base_and_sub);
  return known == kClasses.end() ? fmt::format("{:04x}", base_and_sub)
                                 : fmt::format("{:04x} {}", base_and_sub, known->name);
}

std::string iommu_text(const host::HostFunction& f) {
  if (!f.group) return f.has_iommu ? "yes" : "-";
  return fmt::format("{}{}", f.group->is_noiommu ? "noiommu " : "group ", f.group->number);
}

std::string interrupts_text(const host::HostFunction& f) {
  std::string text = f.msix_vectors  ? fmt::format("msix {}", *f.msix_vectors)
                     : f.msi_vectors ? fmt::format("msi {}", *f.msi_vectors)
                     : f.has_line    ? "intx"
                                     : "-";
  if (text == "-") return text;
  switch (f.interrupt_way()) {
    case host::InterruptWay::kMemory: break;
    case host::InterruptWay::kUio: text += f.msix_vectors || f.msi_vectors ? ", intx by uio" : " by uio"; break;
    case host::InterruptWay::kVfio: text += " by vfio"; break;
  }
  return text;
}

std::string usable_text(const host::HostFunction& f) {
  const auto refusal = host::find_refusal(f);
  if (!refusal) return "yes";
  // A driver would be gone after `bind`; what depends on the function would keep that from happening.
  const auto use = f.driver ? host::find_use(f) : std::nullopt;
  return fmt::format("no: {}{}{}", refusal->what, use && use->what != refusal->what ? ", and " : "",
                     use && use->what != refusal->what ? use->what : "");
}

constexpr std::size_t kColumns = 7;
using Row = std::array<std::string, kColumns>;

int say(const std::expected<std::string, std::string>& outcome, std::string_view command) {
  if (!outcome) {
    fmt::print(stderr, "iommufd-user {}: {}\n", command, outcome.error());
    return 1;
  }
  fmt::print("{}\n", *outcome);
  return 0;
}

}  // namespace

std::string draw_functions(std::span<const host::HostFunction> functions) {
  std::vector<Row> rows{{"FUNCTION", "IDS", "CLASS", "DRIVER", "IOMMU", "INTERRUPTS", "USABLE WITHOUT AN IOMMU"}};
  for (const host::HostFunction& f : functions) {
    rows.push_back({f.bdf.str(), fmt::format("{:04x}:{:04x}", f.vendor, f.device), class_text(f.class_code),
                    f.driver.value_or("-"), iommu_text(f), interrupts_text(f), usable_text(f)});
  }
  std::array<std::size_t, kColumns> widths{};
  for (const Row& row : rows)
    for (std::size_t i = 0; i < kColumns; ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string out;
  for (const Row& row : rows) {
    for (std::size_t i = 0; i + 1 < kColumns; ++i)
      fmt::format_to(std::back_inserter(out), "{:{}}  ", row[i], widths[i]);
    out += row.back() + "\n";
  }
  return out;
}

std::string describe_host() {
  std::string out = draw_functions(host::inventory());
  out += "\n`iommufd-user bind FUNCTION` takes a function from its driver, `unbind` gives it back.\n";
  if (const auto lack = host::find_lack_of_privilege())
    out += fmt::format("A program that uses one {}; without it interrupts are not shown here either.\n", lack->what);
  return out;
}

int execute_host(const HostCommand& command) {
  switch (command.action) {
    case HostCommand::Action::kBind: return say(host::bind(command.function, command.driver), "bind");
    case HostCommand::Action::kUnbind: return say(host::unbind(command.function), "unbind");
    case HostCommand::Action::kRelease: return say(host::request_release(command.function), "release");
  }
  return 1;
}

}  // namespace iommufd::cli

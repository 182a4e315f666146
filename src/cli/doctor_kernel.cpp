// SPDX-License-Identifier: BSD-3-Clause
// The doctor's last section: what the kernel itself has of iommufd, VFIO and noiommu. `run` needs none of it; it tells
// whether the same program would find the real thing here.
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <memory>
#include <optional>
#include <string_view>

#include "base/sys.hpp"
#include "cli/doctor_sections.hpp"

namespace iommufd::cli {
namespace {

struct ClosePipe {
  void operator()(FILE* f) const { pclose(f); }
};

std::string release() {
  utsname u{};
  uname(&u);
  return u.release;
}

// The kernel's configuration: /boot/config-RELEASE, or what /proc/config.gz unpacks to.
std::optional<std::string> kernel_config() {
  if (Result<std::string> text = sys::read_file("/boot/config-" + release())) return *std::move(text);
  if (access("/proc/config.gz", R_OK) != 0) return std::nullopt;
  const std::unique_ptr<FILE, ClosePipe> unpacked(popen("gzip -dc </proc/config.gz 2>/dev/null", "re"));
  if (unpacked == nullptr) return std::nullopt;
  std::string text;
  std::array<char, 16384> part{};
  while (const std::size_t n = fread(part.data(), 1, part.size(), unpacked.get())) text.append(part.data(), n);
  if (text.empty()) return std::nullopt;
  return text;
}

// "y", "m" or "n"; empty without a configuration.
std::string_view option(const std::optional<std::string>& config, std::string_view name) {
  if (!config) return {};
  const std::size_t at = config->find(fmt::format("\n{}=", name));
  if (at == std::string::npos) return "n";
  return std::string_view(*config).substr(at + name.size() + 2, 1);
}

bool is_there(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

// Is the module's file installed, compressed or not?
bool has_module_file(std::string_view path) {
  for (const char* suffix : {"", ".xz", ".zst", ".gz"}) {
    if (is_there(fmt::format("/lib/modules/{}/kernel/drivers/{}.ko{}", release(), path, suffix))) return true;
  }
  return false;
}

struct Part {
  const char* what;
  const char* node;    // what shows that it is at work; null: nothing does
  const char* option;  // of the configuration
  const char* module;  // path of its file below kernel/drivers, without suffix; null: it has none of its own
};

constexpr std::array kParts{
    Part{"iommufd", "/dev/iommu", "CONFIG_IOMMUFD", "iommu/iommufd/iommufd"},
    Part{"VFIO for PCI", "/sys/bus/pci/drivers/vfio-pci", "CONFIG_VFIO_PCI", "vfio/pci/vfio-pci"},
    Part{"VFIO device files", "/dev/vfio/devices", "CONFIG_VFIO_DEVICE_CDEV", nullptr},
    Part{"VFIO containers", "/dev/vfio/vfio", "CONFIG_VFIO_CONTAINER", nullptr},
    Part{"VFIO noiommu (groups)", nullptr, "CONFIG_VFIO_NOIOMMU", nullptr},
    Part{"iommufd noiommu (Linux 7.3)", nullptr, "CONFIG_IOMMUFD_NOIOMMU", nullptr},
};

Finding examine(const Part& part, const std::optional<std::string>& config) {
  const std::string_view built = option(config, part.option);
  const bool at_work = part.node != nullptr && is_there(part.node);
  const bool module_file = part.module != nullptr && has_module_file(part.module);
  Finding f{.what = part.what,
            .state = State::kNo,
            .detail = built.empty() ? "configuration not readable" : fmt::format("{}={}", part.option, built)};
  if (at_work) f.detail += fmt::format(", {} is there", part.node);
  if (module_file) f.detail += ", module installed";
  if (at_work || built == "y") {
    f.state = State::kYes;
  } else if (built == "m" || module_file) {
    f.state = State::kLimited;
    f.cost = "not loaded";
  }
  return f;
}

Finding iommu_groups() {
  Finding f{.what = "devices behind an IOMMU"};
  const bool any = is_there("/sys/kernel/iommu_groups/0");
  f.state = any ? State::kYes : State::kNo;
  f.detail = any ? "/sys/kernel/iommu_groups has groups" : "/sys/kernel/iommu_groups has none";
  return f;
}

}  // namespace

Section kernel_section() {
  const std::optional<std::string> config = kernel_config();
  Section section{"The kernel's own (`run` needs none of it)", {}};
  for (const Part& part : kParts) section.findings.push_back(examine(part, config));
  section.findings.push_back(iommu_groups());
  return section;
}

}  // namespace iommufd::cli

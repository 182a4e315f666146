// SPDX-License-Identifier: BSD-3-Clause
#include "host/inventory.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <sstream>
#include <string_view>

#include "base/sys.hpp"
#include "host/dependents.hpp"
#include "pci/config_registers.hpp"

namespace iommufd::host {
namespace {

constexpr std::array<std::string_view, 3> kIdleDrivers{"vfio-pci", "uio_pci_generic", "pci-stub"};
constexpr u32 kBaseClassBridge = 0x06;

std::string functions_of(const Roots& roots) { return roots.sys + "/bus/pci/devices"; }

// START END FLAGS, hexadecimal; a hole is all zero.
std::array<Resource, HostFunction::kBars + 1> read_resources(const std::string& folder) {
  std::array<Resource, HostFunction::kBars + 1> out{};
  const auto rows = read_table(folder + "/resource");
  for (std::size_t i = 0; i < std::min(rows.size(), out.size()); ++i) {
    if (rows[i].size() != 3) continue;
    const auto number = [](const std::string& text) { return std::strtoull(text.c_str(), nullptr, 16); };
    const u64 start = number(rows[i][0]), last = number(rows[i][1]);
    if (last >= start && last != 0) out[i] = {.start = start, .size = last - start + 1, .flags = number(rows[i][2])};
  }
  return out;
}

// The first bytes of config space: 64 for an ordinary user, all of it for root.
class Config {
 public:
  explicit Config(const std::string& folder) : bytes_(sys::read_file(folder + "/config").value_or("")) {}

  template <class T>
  [[nodiscard]] T at(u32 offset) const {  // as an empty slot reads where nothing can be read
    T value = static_cast<T>(~T{0});
    if (offset + sizeof(T) <= bytes_.size()) std::memcpy(&value, bytes_.data() + offset, sizeof(T));
    return value;
  }
  [[nodiscard]] bool is_there() const { return bytes_.size() >= pci::reg::kHeaderSize; }
  // The offset of a capability (PCI 3.0, 6.7).
  [[nodiscard]] std::optional<u32> find(u8 id) const {
    if (!is_there() || (at<u16>(pci::reg::kStatus) & pci::reg::kStatusCapList) == 0) return std::nullopt;
    u32 next = at<u8>(pci::reg::kCapPointer) & ~3U;
    // A list that does not end is cut after as many entries as there is room for.
    for (u32 i = 0; i < (pci::reg::kConfigSize - pci::reg::kCapStart) / 4; ++i) {
      if (next < pci::reg::kCapStart || next + 2 > std::min<std::size_t>(bytes_.size(), pci::reg::kConfigSize)) break;
      if (at<u8>(next) == id) return next;
      next = at<u8>(next + 1) & ~3U;
    }
    return std::nullopt;
  }

 private:
  std::string bytes_;
};

void read_config(const std::string& folder, HostFunction& f) {
  const Config config(folder);
  const u8 header = config.at<u8>(pci::reg::kHeaderType) & static_cast<u8>(~pci::reg::kHeaderMultiFunction);
  f.has_line = config.is_there() && config.at<u8>(pci::reg::kInterruptPin) != 0;
  f.is_bridge = f.class_code >> 16 == kBaseClassBridge || (config.is_there() && header != 0);
  if (const auto msi = config.find(pci::reg::kCapMsi)) {
    const u16 flags = config.at<u16>(*msi + pci::reg::kMsiFlags);
    f.msi_vectors = u32{1} << ((flags & pci::reg::kMsiCapableMask) >> pci::reg::kMsiCapableShift);
  }
  if (const auto msix = config.find(pci::reg::kCapMsix))
    f.msix_vectors = (config.at<u16>(*msix + pci::reg::kMsixControl) & 0x7ffU) + 1;  // 6.8.2.3: N-1
}

std::optional<HostGroup> read_group(const std::string& folder, const Roots& roots) {
  const auto number = link_name(folder + "/iommu_group");
  if (!number) return std::nullopt;
  const auto name = read_attribute(fmt::format("{}/kernel/iommu_groups/{}/name", roots.sys, *number));
  return HostGroup{.number = *number, .is_noiommu = name == "vfio-noiommu"};
}

std::optional<std::string> read_override(const std::string& folder) {
  const auto text = read_attribute(folder + "/driver_override");
  return text == "(null)" ? std::nullopt : text;  // what an empty one reads
}

// Functions that may have been meant: another function or domain of that device, else what is on that bus.
std::vector<std::string> near_misses(pci::Bdf bdf, const Roots& roots) {
  std::vector<std::string> of_device, of_bus;
  for (const std::string& name : list_directory(functions_of(roots))) {
    const auto other = pci::Bdf::parse(name);
    if (!other || other->bus != bdf.bus) continue;
    of_bus.push_back(name);
    if (other->device == bdf.device) of_device.push_back(name);
  }
  constexpr std::size_t kFew = 4;
  if (of_device.empty() && of_bus.size() > kFew) return {};
  return of_device.empty() ? of_bus : of_device;
}

}  // namespace

bool HostFunction::has_idle_driver() const {
  return driver && std::ranges::find(kIdleDrivers, *driver) != kIdleDrivers.end();
}

InterruptWay HostFunction::interrupt_way() const {
  if (driver == "vfio-pci") return InterruptWay::kVfio;
  return driver == "uio_pci_generic" ? InterruptWay::kUio : InterruptWay::kMemory;
}

std::optional<HostFunction> describe(pci::Bdf bdf, const Roots& roots) {
  const auto folder = real_path(fmt::format("{}/{}", functions_of(roots), bdf.str()));
  if (!folder) return std::nullopt;
  HostFunction f;
  f.bdf = bdf;
  f.folder = *folder;
  const auto number = [&](const char* name) { return read_number(fmt::format("{}/{}", *folder, name)).value_or(0); };
  f.vendor = static_cast<u16>(number("vendor"));
  f.device = static_cast<u16>(number("device"));
  f.subsystem_vendor = static_cast<u16>(number("subsystem_vendor"));
  f.subsystem_device = static_cast<u16>(number("subsystem_device"));
  f.revision = static_cast<u8>(number("revision"));
  f.class_code = static_cast<u32>(number("class"));
  f.resources = read_resources(*folder);
  f.driver = link_name(*folder + "/driver");
  f.driver_override = read_override(*folder);
  f.group = read_group(*folder, roots);
  f.has_iommu = exists(*folder + "/iommu");
  read_config(*folder, f);
  std::istringstream methods(read_attribute(*folder + "/reset_method").value_or(""));
  for (std::string method; methods >> method;) f.reset_methods.push_back(method);
  if (const auto node = read_number(*folder + "/numa_node")) f.numa_node = static_cast<int>(*node);
  f.dependents = find_dependents(*folder, roots);
  return f;
}

std::vector<HostFunction> inventory(const Roots& roots) {
  std::vector<HostFunction> out;
  for (const std::string& name : list_directory(functions_of(roots))) {
    const auto bdf = pci::Bdf::parse(name);
    if (auto function = bdf ? describe(*bdf, roots) : std::nullopt) out.push_back(*std::move(function));
  }
  std::ranges::sort(out, {}, &HostFunction::bdf);
  return out;
}

std::string refusal_text(pci::Bdf bdf, const Refusal& refusal) {
  return fmt::format("{} {}{}{}", bdf.str(), refusal.what, refusal.remedy.empty() ? "" : ". ", refusal.remedy);
}

Refusal absence(pci::Bdf bdf, const Roots& roots) {
  const std::vector<std::string> near = near_misses(bdf, roots);
  return {.what = "is no PCI function of this machine",
          .remedy = near.empty() ? "`iommufd-user devices --host` lists those that are"
                                 : fmt::format("Near it are {}; `iommufd-user devices --host` lists all",
                                               fmt::join(near, ", "))};
}

std::optional<Refusal> find_lack_of_privilege(const Roots& roots) {
  constexpr u64 kRawIo = u64{1} << 17, kAdmin = u64{1} << 21;  // capabilities(7)
  constexpr const char* kRemedy = "Run this as root of the machine";
  // In a user namespace of its own everybody is root; the initial one maps all ids onto themselves.
  const auto map = read_table(roots.proc + "/self/uid_map");
  if (!map.empty() && map[0] != std::vector<std::string>{"0", "0", "4294967295"})
    return Refusal{"cannot be used from within a user namespace, whose root is not the machine's", kRemedy};
  u64 has = 0;
  for (const auto& row : read_table(roots.proc + "/self/status"))
    if (row.size() == 2 && row[0] == "CapEff:") has = std::strtoull(row[1].c_str(), nullptr, 16);
  std::vector<std::string_view> lacking;
  if ((has & kAdmin) == 0) lacking.emplace_back("CAP_SYS_ADMIN");
  if ((has & kRawIo) == 0) lacking.emplace_back("CAP_SYS_RAWIO");
  if (lacking.empty()) return std::nullopt;
  return Refusal{fmt::format("needs {}, which this process lacks", fmt::join(lacking, " and ")), kRemedy};
}

std::optional<Refusal> find_use(const HostFunction& f) {
  if (f.dependents.empty()) return std::nullopt;
  return Refusal{fmt::format("is in use by {}", fmt::join(f.dependents, "; ")), "Give that up first"};
}

std::optional<Refusal> find_bridge(const HostFunction& f) {
  if (!f.is_bridge) return std::nullopt;
  return Refusal{"is a bridge: other functions, or the machine itself, are reached through it", ""};
}

std::optional<Refusal> find_refusal(const HostFunction& f) {
  if (f.is_managed_by_iommu()) {
    return Refusal{
        fmt::format("is managed by an IOMMU{}", f.group ? " (group " + f.group->number + ")" : ""),
        "The kernel's own way is safer: bind it to vfio-pci and use /dev/iommu or /dev/vfio of this machine. "
        "To use it without an IOMMU, boot with the IOMMU off (intel_iommu=off, amd_iommu=off)"};
  }
  if (f.driver && !f.has_idle_driver())
    return Refusal{"is bound to the driver " + *f.driver, "Unbind it: iommufd-user bind " + f.bdf.str()};
  if (f.interrupt_way() == InterruptWay::kVfio && !f.group)
    return Refusal{"is bound to vfio-pci, and the kernel has no VFIO group for it",
                   "Use it without vfio-pci: iommufd-user bind --driver=none " + f.bdf.str()};
  if (auto use = find_use(f)) return use;
  if (auto bridge = find_bridge(f)) return bridge;
  const auto bars = std::span(f.resources).first(HostFunction::kBars);
  if (std::ranges::none_of(bars, &Resource::is_memory))
    return Refusal{"has no memory BAR: there is nothing that a program could map", ""};
  return std::nullopt;
}

std::expected<HostFunction, std::string> usable(pci::Bdf bdf, const Roots& roots) {
  std::optional<HostFunction> function = describe(bdf, roots);
  if (!function) return std::unexpected(refusal_text(bdf, absence(bdf, roots)));
  if (const auto lack = find_lack_of_privilege(roots)) return std::unexpected(refusal_text(bdf, *lack));
  if (const auto refusal = find_refusal(*function)) return std::unexpected(refusal_text(bdf, *refusal));
  return *std::move(function);
}

}  // namespace iommufd::host

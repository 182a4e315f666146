// SPDX-License-Identifier: BSD-3-Clause
#include "run/sysfs_attributes.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/sys.hpp"
#include "pci/config_registers.hpp"

namespace iommufd::run {
namespace {

namespace reg = pci::reg;

u32 word(std::string_view config, std::size_t at, std::size_t bytes) {
  u32 value = 0;
  if (at + bytes <= config.size()) std::memcpy(&value, config.data() + at, bytes);
  return value;
}

// Where a capability begins; 0: the function has none.
std::size_t find_capability(std::string_view config, u8 id) {
  if ((word(config, reg::kStatus, 2) & reg::kStatusCapList) == 0) return 0;
  std::size_t at = word(config, reg::kCapPointer, 1);
  for (int steps = 0; at >= reg::kCapStart && steps < 48; ++steps, at = word(config, at + 1, 1))
    if (word(config, at, 1) == id) return at;
  return 0;
}

std::string link_speed(u32 code) {
  constexpr std::array<const char*, 7> kSpeeds{"", "2.5", "5.0", "8.0", "16.0", "32.0", "64.0"};
  return code == 0 || code >= kSpeeds.size() ? "Unknown\n" : fmt::format("{} GT/s PCIe\n", kSpeeds[code]);
}

// The ways in the order in which the kernel tries them.
std::string reset_methods(std::string_view config) {
  std::string out;
  const auto add = [&out](const char* name) { out += (out.empty() ? "" : " ") + std::string(name); };
  const std::size_t express = find_capability(config, reg::kCapPcie), af = find_capability(config, reg::kCapAf);
  if (express != 0 && (word(config, express + reg::kPcieDeviceCap, 4) & reg::kPcieFlr) != 0) add("flr");
  if (af != 0 && (word(config, af + reg::kAfCap, 1) & reg::kAfFlr) != 0) add("af_flr");
  if (out.empty()) add("device_specific");
  const std::size_t pm = find_capability(config, reg::kCapPm);
  if (pm != 0 && (word(config, pm + reg::kPmControl, 2) & reg::kPmNoSoftReset) == 0) add("pm");
  return out + "\n";
}

// What the config space says, or VFIO has done. Without power management a function is always on.
std::string power_state(const PciDeviceInfo& d) {
  if (d.low_power && d.low_power()) return "D3hot\n";
  const std::string config = d.config ? d.config() : std::string();
  const std::size_t pm = find_capability(config, reg::kCapPm);
  return pm != 0 && (word(config, pm + reg::kPmControl, 2) & reg::kPmState) == reg::kPmD3hot ? "D3hot\n" : "D0\n";
}

// `power/`, as far as programs look at it. The state of `control` counts for nothing else: who decides is the VFIO driver.
void add_runtime_power(PathTree& tree, const std::string& path, const PciDeviceInfo& d) {
  tree.add_directory(path, Entries::kOwn);
  std::atomic<bool>& may_sleep = *d.runtime_power;
  tree.add_file(path + "/control", {.mode = 0644,
                                    .read = [&may_sleep](Reader) { return may_sleep.load() ? "auto\n" : "on\n"; },
                                    .write = [&may_sleep](const Write& w) -> Result<u64> {
                                      const std::string_view word = w.data.substr(0, w.data.find('\n'));
                                      if (word != "auto" && word != "on") return Err(Errno::kInval);
                                      may_sleep.store(word == "auto");
                                      return w.data.size();
                                    }});
  tree.add_file(path + "/runtime_enabled",
                {.read = [&may_sleep](Reader) { return may_sleep.load() ? "enabled\n" : "forbidden\n"; }});
  tree.add_file(path + "/runtime_status",
                {.read = [low = d.low_power](Reader) { return low && low() ? "suspended\n" : "active\n"; }});
  // Without autosuspend there is no delay.
  const auto refuse = [](auto) -> Result<std::string> { return Err(Errno::kIo); };
  tree.add_file(path + "/autosuspend_delay_ms",
                {.mode = 0644, .read = refuse, .write = [](const Write&) -> Result<u64> { return Err(Errno::kIo); }});
}

}  // namespace

std::string cpu_mask(std::string_view list) {
  std::vector<u32> groups(1);
  const char* at = list.data();
  const char* const end = at + list.size();
  const auto number = [&](u32& value) {
    const auto r = std::from_chars(at, end, value);
    at = r.ptr;
    return r.ec == std::errc{} && value < 65536;
  };
  while (at != end && *at != '\n') {
    u32 first = 0;
    if (!number(first)) return {};
    u32 last = first;
    if (at != end && *at == '-') {
      ++at;
      if (!number(last) || last < first) return {};
    }
    for (u32 cpu = first; cpu <= last; ++cpu) {
      if (cpu / 32 >= groups.size()) groups.resize(cpu / 32 + 1);
      groups[cpu / 32] |= u32{1} << cpu % 32;
    }
    if (at != end && *at == ',') ++at;
  }
  std::string out = fmt::format("{:x}", groups.back());
  for (std::size_t i = groups.size() - 1; i-- > 0;) out += fmt::format(",{:08x}", groups[i]);
  return out;
}

void add_derived_attributes(PathTree& tree, const std::string& path, const PciDeviceInfo& d) {
  const auto constant = [&](const char* name, const char* text, u32 mode = 0444) {
    tree.add_file(path + "/" + name, {.mode = mode, .read = [text](Reader) { return text; }});
  };
  const auto live = [&](const char* name, const auto& read, u32 mode = 0444) {
    tree.add_file(path + "/" + name, {.mode = mode, .read = [read](Reader) { return read(); }});
  };
  // What a pci_dev begins with, and no driver here changes.
  constant("ari_enabled", "0\n");
  constant("broken_parity_status", "0\n", 0644);
  constant("dma_mask_bits", "32\n");
  constant("consistent_dma_mask_bits", "32\n");
  constant("msi_bus", "1\n", 0644);
  // The node of the processors is unknown: all of them are as near.
  const auto online = [] { return sys::read_file("/sys/devices/system/cpu/online").value_or("0\n"); };
  live("local_cpulist", online);
  live("local_cpus", [online] { return cpu_mask(online()) + "\n"; });
  live("power_state", [d] { return power_state(d); });
  if (d.runtime_power != nullptr) add_runtime_power(tree, path + "/power", d);
  if (d.reset) live("reset_method", [config = d.config] { return reset_methods(config()); }, 0644);
  if (!d.config || find_capability(d.config(), reg::kCapPcie) == 0) return;
  const auto link = [config = d.config](std::size_t offset, std::size_t bytes) {
    const std::string now = config();
    return word(now, find_capability(now, reg::kCapPcie) + offset, bytes);
  };
  live("max_link_speed", [link] { return link_speed(link(reg::kPcieLinkCap, 4) & 0xf); });
  live("max_link_width", [link] { return fmt::format("{}\n", link(reg::kPcieLinkCap, 4) >> 4 & 0x3f); });
  live("current_link_speed", [link] { return link_speed(link(reg::kPcieLinkStatus, 2) & 0xf); });
  live("current_link_width", [link] { return fmt::format("{}\n", link(reg::kPcieLinkStatus, 2) >> 4 & 0x3f); });
}

}  // namespace iommufd::run

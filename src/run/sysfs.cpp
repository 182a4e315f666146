// SPDX-License-Identifier: BSD-3-Clause
#include "run/sysfs.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "base/assert.hpp"
#include "run/sysfs_attributes.hpp"

namespace iommufd::run {
namespace {

// Lines of `resource`: six BARs, the ROM and six SR-IOV BARs, which no function of ours has; then the windows of a bridge.
constexpr std::size_t kResourceLines = 13;
// What readers without CAP_SYS_ADMIN see of `config`.
constexpr std::size_t kPublicConfig = 64;

FileSpec constant(std::string text, u32 mode = 0444) {
  return {.mode = mode, .read = [text = std::move(text)](Reader) { return text; }};
}

// The target of a symlink at `from`, so that it leads to `to`: as sysfs writes them, from the link's directory up to the
// directory that also holds `to`, and down.
std::string relative(std::string_view from, std::string_view to) {
  const std::string_view holder = to.substr(0, to.rfind('/'));
  std::string target;
  std::string_view base = from.substr(0, from.rfind('/'));
  while (!base.empty() && !(holder.starts_with(base) && (holder.size() == base.size() || holder[base.size()] == '/'))) {
    target += "../";
    base = base.substr(0, base.rfind('/'));
  }
  return target.append(to.substr(base.size() + 1));
}

void link(PathTree& tree, const std::string& at, const std::string& to) { tree.add_symlink(at, relative(at, to)); }

std::string device_number(DeviceNumber n) { return fmt::format("{}:{}", n.major, n.minor); }

// The links from a device number to its sysfs directory and to its node (the latter is udev's work).
void link_number(PathTree& tree, DeviceNumber n, const std::string& device, const std::string& node) {
  link(tree, "/sys/dev/char/" + device_number(n), device);
  link(tree, "/dev/char/" + device_number(n), node);
}

// A class device: `dev`, `uevent`, `subsystem`, and the link in its class.
void add_class_device(PathTree& tree, const std::string& path, const std::string& class_name, DeviceNumber n,
                      const std::string& node) {
  tree.add_directory(path, Entries::kOwn);
  tree.add_file(path + "/dev", constant(device_number(n) + "\n"));
  tree.add_file(path + "/uevent",
                constant(fmt::format("MAJOR={}\nMINOR={}\nDEVNAME={}\n", n.major, n.minor, node), 0644));
  link(tree, path + "/subsystem", "/sys/class/" + class_name);
  link(tree, fmt::format("/sys/class/{}/{}", class_name, path.substr(path.rfind('/') + 1)), path);
  link_number(tree, n, path, "/dev/" + node);
}

std::string root_bus_path(const PciDeviceInfo& d) {
  return fmt::format("/sys/devices/pci{:04x}:{:02x}", d.bdf.domain, d.bridges.empty() ? d.bdf.bus : d.bridges[0].bus);
}
std::string device_path(const PciDeviceInfo& d) {
  std::string path = root_bus_path(d);
  for (const pci::Bdf& bridge : d.bridges) path += "/" + bridge.str();
  return path + "/" + d.bdf.str();
}
std::string driver_path(const std::string& name) { return "/sys/bus/pci/drivers/" + name; }
const std::string kPortDriver = "pcieport";

// `uevent` takes the names of actions, and has the kernel tell udev of one. Nobody listens to us.
Result<u64> write_uevent(const Write& w) {
  constexpr std::array<std::string_view, 8> kActions{"add",    "remove",  "change", "move",
                                                     "online", "offline", "bind",   "unbind"};
  const std::string_view action = w.data.substr(0, w.data.find_first_of(" \n"));
  if (std::ranges::find(kActions, action) == kActions.end()) return Err(Errno::kInval);
  return w.data.size();
}

std::string modalias(const PciDeviceInfo& d) {
  return fmt::format("pci:v{:08X}d{:08X}sv{:08X}sd{:08X}bc{:02X}sc{:02X}i{:02X}", d.vendor, d.device,
                     d.subsystem_vendor, d.subsystem_device, d.class_code >> 16 & 0xff, d.class_code >> 8 & 0xff,
                     d.class_code & 0xff);
}

std::string uevent(const PciDeviceInfo& d) {
  return fmt::format(
      "{}PCI_CLASS={:04X}\nPCI_ID={:04X}:{:04X}\nPCI_SUBSYS_ID={:04X}:{:04X}\nPCI_SLOT_NAME={}\nMODALIAS={}\n",
      d.driver.empty() ? "" : fmt::format("DRIVER={}\n", d.driver), d.class_code, d.vendor, d.device,
      d.subsystem_vendor, d.subsystem_device, d.bdf.str(), modalias(d));
}

std::string resource(const PciDeviceInfo& d) {
  std::string text;
  for (std::size_t i = 0; i < kResourceLines + d.windows.size(); ++i) {
    pci::Resource r;
    if (i < d.resources.size()) r = d.resources[i];
    if (i >= kResourceLines) r = d.windows[i - kResourceLines];
    text += fmt::format("0x{:016x} 0x{:016x} 0x{:016x}\n", r.start, r.end, r.flags);
  }
  return text;
}

// `rom`: its size is that of the BAR, its content the images. It is read after something else than "0" has been written.
void add_rom(PathTree& tree, const std::string& path, const PciDeviceInfo& d) {
  if (d.rom_size == 0) return;
  tree.add_file(path + "/rom", {.content = Content::kBytes,
                                .mode = 0600,
                                .size = d.rom_size,
                                .read = [rom = d.rom](Reader) { return rom(); },
                                .write = [enable = d.enable_rom](const Write& w) -> Result<u64> {
                                  enable(w.offset != 0 || w.data != "0\n");
                                  return w.data.size();
                                }});
}

// `msi_irqs`: a file for each vector; the first one makes the directory, which stays until the driver goes.
void add_message_irqs(PathTree& tree, const std::string& path, const PciDeviceInfo& d) {
  if (!d.had_message_irqs) return;
  tree.add_directory(path + "/msi_irqs", Entries::kOwn);
  for (const u32 irq : d.message_irqs)
    tree.add_file(fmt::format("{}/msi_irqs/{}", path, irq), constant(d.message_irqs_msix ? "msix\n" : "msi\n"));
}

// `resourceN` of the BARs that VFIO lets be mapped: the memory belongs to the open VFIO file (docs/adr/0004), so it cannot be mapped here;
// as in a kernel it is not read or written either.
void add_bars(PathTree& tree, const std::string& path, const PciDeviceInfo& d) {
  for (const u32 bar : d.mappable_bars) {
    const pci::Resource& r = d.resources[bar];
    tree.add_file(fmt::format("{}/resource{}", path, bar),
                  {.content = Content::kBar,
                   .mode = 0600,
                   .size = r.end - r.start + 1,
                   .read = [](Reader) -> Result<std::string> { return Err(Errno::kIo); }});
  }
}

void add_attributes(PathTree& tree, const std::string& path, const PciDeviceInfo& d) {
  const auto file = [&](const char* name, std::string text, u32 mode = 0444) {
    tree.add_file(path + "/" + name, constant(std::move(text), mode));
  };
  file("vendor", fmt::format("0x{:04x}\n", d.vendor));
  file("device", fmt::format("0x{:04x}\n", d.device));
  file("subsystem_vendor", fmt::format("0x{:04x}\n", d.subsystem_vendor));
  file("subsystem_device", fmt::format("0x{:04x}\n", d.subsystem_device));
  file("class", fmt::format("0x{:06x}\n", d.class_code));
  file("revision", fmt::format("0x{:02x}\n", d.revision));
  file("irq", fmt::format("{}\n", d.irq));
  file("modalias", modalias(d) + "\n");
  file("resource", resource(d));
  tree.add_file(path + "/uevent",
                {.mode = 0644, .read = [text = uevent(d)](Reader) { return text; }, .write = write_uevent});
  file("numa_node", fmt::format("{}\n", d.numa_node), 0644);
  tree.add_file(path + "/enable",
                {.mode = 0644,
                 .read = [count = d.enable_count](Reader) { return fmt::format("{}\n", count ? count() : 0); },
                 .write = d.set_enabled ? WriteContent([set = d.set_enabled](const Write& w) -> Result<u64> {
                   const std::string_view text = w.data.substr(0, w.data.find('\n'));
                   if (text != "0" && text != "1") return Err(Errno::kInval);
                   IOMMUFD_TRY(set(text == "1"));
                   return w.data.size();
                 })
                                        : nullptr});
  add_derived_attributes(tree, path, d);
  const auto read_config = [config = d.config](Reader reader) {
    std::string bytes = config();
    if (reader == Reader::kUnprivileged) bytes.resize(std::min(bytes.size(), kPublicConfig));
    return bytes;
  };
  const auto write_config = [write = d.write_config, size = d.config_size](const Write& w) -> Result<u64> {
    if (w.data.empty()) return 0;
    if (w.offset >= size) return Err(Errno::kFBig);
    const std::string_view data = w.data.substr(0, size - w.offset);
    write(static_cast<u32>(w.offset), data);
    return data.size();
  };
  tree.add_file(path + "/config", {.content = Content::kBytes,
                                   .mode = 0644,
                                   .size = d.config_size,
                                   .read = read_config,
                                   .write = d.write_config ? WriteContent(write_config) : nullptr});
  add_rom(tree, path, d);
  add_message_irqs(tree, path, d);
  add_bars(tree, path, d);
  if (d.reset) {
    tree.add_file(path + "/reset", {.mode = 0200, .write = [reset = d.reset](const Write& w) -> Result<u64> {
                                      if (w.data.substr(0, w.data.find('\n')) != "1") return Err(Errno::kInval);
                                      reset();
                                      return w.data.size();
                                    }});
  }
  tree.add_file(path + "/driver_override", {.mode = 0644,
                                            .read =
                                                [get = d.driver_override](Reader) {
                                                  const std::string name = get ? get() : std::string();
                                                  return (name.empty() ? "(null)" : name) + "\n";
                                                },
                                            .write = d.set_driver_override});
}

// What functions and bridges have in common.
void add_pci_function(PathTree& tree, const PciDeviceInfo& d) {
  const std::string path = device_path(d);
  const std::string bdf = d.bdf.str();
  tree.add_directory(root_bus_path(d), Entries::kMerged);
  tree.add_directory(path, Entries::kOwn);
  add_attributes(tree, path, d);
  link(tree, path + "/subsystem", "/sys/bus/pci");
  link(tree, "/sys/bus/pci/devices/" + bdf, path);
  if (d.iommu_group) {
    const std::string group = fmt::format("/sys/kernel/iommu_groups/{}", *d.iommu_group);
    link(tree, path + "/iommu_group", group);
    link(tree, group + "/devices/" + bdf, path);
  }
  if (!d.iommu.empty()) {
    const std::string instance = "/sys/devices/virtual/iommu/" + d.iommu;
    link(tree, path + "/iommu", instance);
    link(tree, instance + "/devices/" + bdf, path);
  }
  if (d.driver.empty()) return;
  link(tree, path + "/driver", driver_path(d.driver));
  link(tree, driver_path(d.driver) + "/" + bdf, path);
}

void add_bridge(PathTree& tree, const BridgeInfo& b) {
  const std::string path = device_path(b.function);
  const auto file = [&](const char* name, u32 value) {
    tree.add_file(path + "/" + name, constant(fmt::format("{}\n", value)));
  };
  add_pci_function(tree, b.function);
  file("secondary_bus_number", b.secondary);
  file("subordinate_bus_number", b.subordinate);
}

void add_pci_device(PathTree& tree, const PciDeviceInfo& d) {
  const std::string path = device_path(d);
  add_pci_function(tree, d);
  if (!d.vfio) return;
  const std::string class_device = path + "/vfio-dev/" + d.vfio->name;
  tree.add_directory(path + "/vfio-dev", Entries::kOwn);
  const std::string node = "vfio/devices/" + d.vfio->name;
  add_class_device(tree, class_device, "vfio-dev", d.vfio->device.rdev, node);
  link(tree, class_device + "/device", path);
  tree.add_char_device("/dev/" + node, d.vfio->device.rdev, 0600, d.vfio->device.opener);
}

void add_group(PathTree& tree, const GroupInfo& group) {
  const std::string path = fmt::format("/sys/kernel/iommu_groups/{}", group.id);
  tree.add_directory(path, Entries::kOwn);
  tree.add_directory(path + "/devices", Entries::kOwn);
  tree.add_file(path + "/type", constant(group.type + "\n", 0644));
  if (!group.name.empty()) tree.add_file(path + "/name", constant(group.name + "\n"));
  std::string regions;
  for (const iommu::ReservedRegion& r : group.reserved) {
    regions += fmt::format("0x{:016x} 0x{:016x} {}\n", r.range.start, r.range.last, iommu::reserved_type_name(r.type));
  }
  tree.add_file(path + "/reserved_regions", constant(std::move(regions)));
}

void add_iommu(PathTree& tree, const IommuInfo& iommu) {
  const std::string path = "/sys/devices/virtual/iommu/" + iommu.name;
  tree.add_directory(path, Entries::kOwn);
  tree.add_directory(path + "/devices", Entries::kOwn);
  for (const auto& [name, content] : iommu.attributes) tree.add_file(path + "/" + name, constant(content));
  tree.add_file(path + "/uevent", constant("", 0644));
  link(tree, path + "/subsystem", "/sys/class/iommu");
  link(tree, "/sys/class/iommu/" + iommu.name, path);
}

// A bool module parameter reads "Y" or "N", and takes what the kernel's kstrtobool takes.
Result<bool> parse_bool(std::string_view text) {
  if (text.starts_with('y') || text.starts_with('Y') || text.starts_with('t') || text.starts_with('T') ||
      text.starts_with('1') || text.starts_with("on") || text.starts_with("oN") || text.starts_with("On") ||
      text.starts_with("ON")) {
    return true;
  }
  if (text.starts_with('n') || text.starts_with('N') || text.starts_with('f') || text.starts_with('F') ||
      text.starts_with('0') || text.starts_with("of") || text.starts_with("oF") || text.starts_with("Of") ||
      text.starts_with("OF")) {
    return false;
  }
  return Err(Errno::kInval);
}

void add_modules(PathTree& tree, const NoiommuParameter& noiommu) {
  tree.add_directory("/sys/module/vfio", Entries::kOwn);
  FileSpec parameter{.mode = 0644, .read = [get = noiommu.get](Reader) { return get() ? "Y\n" : "N\n"; }};
  if (noiommu.set) {
    parameter.write = [set = noiommu.set](const Write& w) -> Result<u64> {
      set(IOMMUFD_TRY(parse_bool(w.data)));
      return w.data.size();
    };
  }
  tree.add_file("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", std::move(parameter));
  tree.add_directory("/sys/module/iommufd", Entries::kOwn);
}

void add_driver(PathTree& tree, const DriverInfo& driver) {
  const std::string path = driver_path(driver.name), module = "/sys/module/" + driver.module;
  tree.add_directory(path, Entries::kOwn);
  tree.add_directory(module, Entries::kOwn);
  link(tree, path + "/module", module);
  link(tree, module + "/drivers/pci:" + driver.name, path);
  const auto file = [&](const char* name, const WriteContent& write) {
    tree.add_file(path + "/" + name, {.mode = 0200, .write = write});
  };
  file("bind", driver.bind);
  file("unbind", driver.unbind);
  file("new_id", driver.new_id);
  file("remove_id", driver.remove_id);
  file("uevent", write_uevent);
  for (const auto& [name, content] : driver.parameters)
    tree.add_file(module + "/parameters/" + name, constant(content));
}

// The bus's own files. What was probed at boot was; autoprobe is for functions that come later, of which there are none.
void add_probing(PathTree& tree, const DriverProbing& probing) {
  tree.add_file("/sys/bus/pci/drivers_probe", {.mode = 0200, .write = probing.probe});
  FileSpec autoprobe{.mode = 0644, .read = [get = probing.autoprobe](Reader) { return !get || get() ? "1\n" : "0\n"; }};
  if (probing.set_autoprobe) {
    autoprobe.write = [set = probing.set_autoprobe](const Write& w) -> Result<u64> {
      set(!w.data.starts_with('0'));
      return w.data.size();
    };
  }
  tree.add_file("/sys/bus/pci/drivers_autoprobe", std::move(autoprobe));
}

// The parts of a kernel's fault injection that programs switch before they use fail-nth (spec selftest-abi 10.3, 10.5). Our
// points are not told apart by kind of memory, so the gfp filters only remember what they were set to.
void add_fault_injection(PathTree& tree, FaultPlans& faults) {
  const std::string debug = "/sys/kernel/debug";
  tree.add_directory(debug, Entries::kOwn);
  const auto add_flag = [&](const std::string& path, std::atomic<bool>& on) {
    tree.add_file(path, {.mode = 0600,
                         .read = [&on](Reader) { return on.load() ? "Y\n" : "N\n"; },
                         .write = [&on](const Write& w) -> Result<u64> {
                           on.store(IOMMUFD_TRY(parse_bool(w.data)));
                           return w.data.size();
                         }});
  };
  for (const char* name : {"fail_iommufd", "fail_page_alloc", "failslab"}) {
    tree.add_file(fmt::format("{}/{}/verbose", debug, name),
                  {.mode = 0600,
                   .read = [&faults](Reader) { return fmt::format("{}\n", faults.verbose.load()); },
                   .write = [&faults](const Write& w) -> Result<u64> {
                     const std::string number(w.data);
                     char* end = nullptr;
                     const unsigned long value = std::strtoul(number.c_str(), &end, 0);
                     if (end == number.c_str() || (*end != '\0' && *end != '\n')) return Err(Errno::kInval);
                     faults.verbose.store(static_cast<u32>(value));
                     return w.data.size();
                   }});
  }
  add_flag(debug + "/failslab/ignore-gfp-wait", faults.ignore_slab_wait);
  add_flag(debug + "/fail_page_alloc/ignore-gfp-wait", faults.ignore_page_wait);
  add_flag(debug + "/fail_page_alloc/ignore-gfp-highmem", faults.ignore_page_highmem);
}

}  // namespace

PathTree build_tree(const MachineInfo& machine) {
  PathTree tree;
  // Directories whose every entry is of the VFIO and iommufd that we stand for: the machine's own are hidden.
  for (const char* path : {"/dev/vfio", "/sys/class/vfio", "/sys/class/vfio-dev"})
    tree.add_directory(path, Entries::kOwn);
  // Directories that we share, even when there is nothing of ours in them.
  for (const char* path : {"/sys/bus/pci/devices", "/sys/kernel/iommu_groups"}) {
    tree.add_directory(path, Entries::kMerged);
  }
  // Nobody works in these; many have entries of the machine that would all have to be mounted again.
  for (const char* path : {"/dev/char", "/sys/bus/pci/drivers", "/sys/class/iommu", "/sys/class/misc", "/sys/dev/char",
                           "/sys/devices/virtual", "/sys/module"}) {
    tree.leave_to_calls(path);
  }
  tree.add_char_device("/dev/iommu", machine.iommufd.rdev, 0660, machine.iommufd.opener);
  add_class_device(tree, "/sys/devices/virtual/misc/iommu", "misc", machine.iommufd.rdev, "iommu");
  tree.add_char_device("/dev/vfio/vfio", machine.container.rdev, 0666, machine.container.opener);
  add_class_device(tree, "/sys/devices/virtual/misc/vfio", "misc", machine.container.rdev, "vfio/vfio");
  for (const VfioNode& group : machine.vfio_groups) {
    tree.add_char_device("/dev/vfio/" + group.name, group.device.rdev, 0600, group.device.opener);
    add_class_device(tree, "/sys/devices/virtual/vfio/" + group.name, "vfio", group.device.rdev, "vfio/" + group.name);
  }
  add_modules(tree, machine.noiommu);
  for (const DriverInfo& driver : machine.drivers) add_driver(tree, driver);
  add_probing(tree, machine.probing);
  for (const IommuInfo& iommu : machine.iommus) add_iommu(tree, iommu);
  for (const GroupInfo& group : machine.groups) add_group(tree, group);
  if (std::ranges::any_of(machine.bridges, [](const auto& b) { return b.function.driver == kPortDriver; }))
    tree.add_directory(driver_path(kPortDriver), Entries::kOwn);
  for (const BridgeInfo& bridge : machine.bridges) add_bridge(tree, bridge);
  for (const PciDeviceInfo& device : machine.devices) add_pci_device(tree, device);
  if (machine.faults != nullptr) add_fault_injection(tree, *machine.faults);
  return tree;
}

}  // namespace iommufd::run

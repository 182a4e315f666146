// SPDX-License-Identifier: BSD-3-Clause
#include "cli/command_line.hpp"

#include "cli/real_devices.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <memory>
#include <optional>

#include "cli/device_value.hpp"
#include "cli/machine_bridges.hpp"
#include "cli/machine_file.hpp"
#include "cli/suggest.hpp"
#include "cli/values.hpp"
#include "machine/groups.hpp"
#include "machine/topology.hpp"

namespace iommufd::cli {
namespace {

constexpr const char* kRunHelp =
    R"(Usage: iommufd-user run [--machine FILE] [-d DEVICE]... [OPTIONS] -- PROGRAM [ARGS...]

Runs PROGRAM so that it sees /dev/iommu and the devices of a simulated machine.

Options:
  --machine FILE        The machine, in YAML or JSON (docs/machine.md): IOMMUs with names and reserved
                        ranges, groups, devices, policies. -d adds devices to it, the other options
                        go before what it says. `iommufd-user devices --machine=FILE` draws it.
  -d, --device DEVICE   A device of the machine; may be given again. Default: none.
                        DEVICE = MODEL[,addr=DDDD:BB:DD.F][,iommu=KIND][,group=NAME][,KEY=VALUE...]
                          addr   PCI address; default: the next free one of 0000:01:00.0,
                                 0000:02:00.0, ...
                          iommu  what translates its DMA: an IOMMU of kind amd, amd-v2, vtd, vtd-s1,
                                 riscv or smmuv3 (or one of --machine, by name), or none (noiommu:
                                 the device uses physical addresses; needs
                                 --enable-unsafe-noiommu-mode); default: amd
                          group  name or number that devices of one IOMMU group share;
                                 default: functions of one slot do
                          KEY    of the model; `iommufd-user devices` lists them
  --enable-unsafe-noiommu-mode
                        Allow devices without an IOMMU, as the kernel's module parameter does.
                        Default: off, and such a device has no VFIO node.
  --caps POLICY         Capabilities that privileged operations see: all, none, real (those of
                        the calling thread), or names: sys_rawio,ipc_lock. Default: all.
  --memlock LIMIT       Limit of pinned memory: real (RLIMIT_MEMLOCK of the program), unlimited,
                        or a size: 64M. Default: real.
  --phys LAYOUT         How the program's pages lie in physical memory: fragmented[:SEED], where
                        neighbours are not adjacent, so that a driver which assumes it is caught,
                        or contiguous[,base=ADDRESS][,size=SIZE]. Default: fragmented.
  --pin POLICY          What a mapping holds: auto follows the program's virtual address; real
                        holds the page itself, through io_uring. Default: auto.
  --hugetlb POLICY      Memory in huge pages (MAP_HUGETLB, MFD_HUGETLB): real is this machine's; emulate[,size=SIZE]
                        makes it of ordinary memory, aligned and physically contiguous by 2 MiB,
                        with a pool of SIZE (1G). Default: real.
  --paths VIEW          How the program sees /dev and /sys: intercept (its calls are answered),
                        mount (they are also mounted, so that chdir, getcwd and xattr work), auto
                        (mount where this machine allows it). Default: auto.
  --container KIND      What /dev/vfio/vfio is: native (VFIO's own containers, type1 and noiommu), or
                        iommufd (as /dev/iommu: a kernel with IOMMUFD_VFIO_CONTAINER).
                        Default: native.
  --selftest            Serve IOMMU_TEST_CMD on /dev/iommu, the mock devices of Linux's iommufd
                        selftests. Default: off, and the command is ENOTTY.
  --explain             Say on stderr, for each failing ioctl, which rule failed.
  --dump-tables DIR     Write every page table to DIR, an empty directory, as it was when it ended:
                        as a tree, as JSON, and as raw pages (docs/dump.md). Default: do not.
  -h, --help            Print this.

Exit status: that of PROGRAM (or death by the same signal), or
  125  iommufd-user itself failed: wrong usage, or this machine refuses what it needs
  126  PROGRAM was found and cannot be executed
  127  PROGRAM was not found

Examples:
  iommufd-user run -d edu -- ./my_driver
  iommufd-user run -d edu,iommu=vtd,addr=0000:07:00.0,mmap=on -- ls -l /sys/bus/pci/devices/
  iommufd-user run -d edu,iommu=amd -d edu,iommu=none --enable-unsafe-noiommu-mode -- dma_copy
  iommufd-user run --machine=machine.yaml -- ./my_driver
  iommufd-user run -d edu --memlock=64K --explain -- ./my_driver
)";

constexpr const char* kFooter = R"(
Examples:
  iommufd-user run -d edu -- ./my_driver     run a program with one device behind an IOMMU
  iommufd-user run --help                    all options of run
  iommufd-user devices                       the models and their keys
  iommufd-user devices --host                the PCI functions of this machine
  iommufd-user dump 1234                     page tables of a running program
  iommufd-user doctor                        what this machine offers, and what is missing
)";

// The help of `run` is written out above: CLI11 does not break lines.
class RunFormatter final : public CLI::Formatter {
 public:
  std::string make_help(const CLI::App*, std::string, CLI::AppFormatMode) const override { return kRunHelp; }
};

// The options of `run` as given; they are parsed when CLI11 has found them all.
struct RunTexts {
  std::vector<std::string> devices;
  std::string caps = "all", memlock = "real", pin = "auto", hugetlb = "real", paths = "auto", host = "all";
  std::optional<std::string> machine, phys, container;
  std::string dump_tables;
  bool noiommu = false, selftest = false, explain = false;
  std::optional<u64> seed_dma_fault;
};

void add_run_options(CLI::App& run, RunTexts& t) {
  run.formatter(std::make_shared<RunFormatter>());
  run.add_option("--machine", t.machine);
  run.add_option("-d,--device", t.devices)->take_all()->allow_extra_args(false);
  run.add_flag("--enable-unsafe-noiommu-mode", t.noiommu);
  run.add_option("--caps", t.caps);
  run.add_option("--memlock", t.memlock);
  run.add_option("--phys", t.phys);
  run.add_option("--pin", t.pin);
  run.add_option("--hugetlb", t.hugetlb);
  run.add_option("--paths", t.paths);
  run.add_option("--container", t.container);
  run.add_flag("--selftest", t.selftest);
  run.add_flag("--explain", t.explain);
  run.add_option("--dump-tables", t.dump_tables);
  // Not in the help: for tests.
  run.add_option("--seed-dma-fault", t.seed_dma_fault);
  run.add_option("--host", t.host);
}

Answer wrong(std::string_view command, std::string_view what) {
  const std::string name = command.empty() ? "iommufd-user" : fmt::format("iommufd-user {}", command);
  return {run::kExitRunFailed, fmt::format("{0}: {1}\nTry '{0} --help'.\n", name, what)};
}

constexpr std::array<std::string_view, 7> kCommands{"run", "dump", "devices", "bind", "unbind", "release", "doctor"};

// CLI11 knows that something was not expected; the user wants to know what was meant.
std::string unexpected_argument(const CLI::App& app, const std::string& argument) {
  if (!argument.starts_with('-')) {
    return fmt::format("unexpected argument '{}'; PROGRAM and its arguments go behind --", argument);
  }
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  const std::vector<std::string_view> known(names.begin(), names.end());
  return fmt::format("unknown option '{}'{}", argument, suggestion(argument.substr(0, argument.find('=')), known));
}

Answer wrong_usage(const CLI::App& app, const CLI::Error& error, const std::vector<std::string>& arguments) {
  const auto chosen = app.get_subcommands();
  if (!chosen.empty()) {
    const CLI::App& command = *chosen.front();
    const std::vector<std::string> extra = app.remaining(true);
    const bool is_extra = error.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError) && !extra.empty();
    return wrong(command.get_name(), is_extra ? unexpected_argument(command, extra.front()) : error.what());
  }
  if (arguments.empty()) return wrong("", fmt::format("name a command: {}", fmt::join(kCommands, ", ")));
  const std::string& first = arguments.front();
  if (first.starts_with('-')) return wrong("", fmt::format("unknown option '{}'", first));
  return wrong("", fmt::format("unknown command '{}'{}; the commands are: {}", first, suggestion(first, kCommands),
                               fmt::join(kCommands, ", ")));
}

// One option: its parsed value, or the sentence with the option's name in front.
template <class T>
bool take(Parsed<T> parsed, std::string_view option, std::string_view text, T& into, std::string& mistake) {
  if (!parsed) {
    mistake = fmt::format("{} '{}': {}", option, text, parsed.error());
    return false;
  }
  into = *std::move(parsed);
  return true;
}

bool load(const std::string& path, machine::MachineSpec& into, std::string& mistake) {
  Parsed<machine::MachineSpec> machine = load_machine(path);
  if (!machine) {
    mistake = machine.error();
    return false;
  }
  into = *std::move(machine);
  return true;
}

// Adds what devices leave open, and looks at what only all of them show.
bool complete(machine::MachineSpec& machine, std::string& mistake) {
  if (const auto twice = machine::assign_addresses(machine.devices, machine.bridges)) {
    mistake = fmt::format("two devices have addr={}; give one of them another address, or none", twice->str());
    return false;
  }
  if (const auto wrong = machine::find_topology_mistake(machine.bridges, machine.devices)) {
    mistake = wrong->text;
    return false;
  }
  machine::add_implied_iommus(machine);
  if (const auto conflict = machine::find_group_conflict(machine.devices)) {
    const machine::DeviceSpec &a = machine.devices[conflict->first], &b = machine.devices[conflict->second];
    mistake = fmt::format("group={} would hold {} behind {} and {} behind {}; a group has one IOMMU",
                          machine::label_text(*b.group), a.address->str(), a.iommu, b.address->str(), b.iommu);
    return false;
  }
  mistake = bridge_conflict(machine);
  return mistake.empty();
}

Command make_run_command(const RunTexts& t, std::vector<std::string> program) {
  RunCommand command;
  std::string mistake;
  machine::MachineSpec& machine = command.machine;
  if (t.machine && !load(*t.machine, machine, mistake)) return wrong("run", mistake);
  for (const std::string& text : t.devices) {
    machine::DeviceSpec device;
    if (!take(parse_device(text, machine.iommus), "-d", text, device, mistake)) return wrong("run", mistake);
    machine.devices.push_back(std::move(device));
  }
  if (!complete(machine, mistake)) return wrong("run", mistake);
  run::Options& o = command.options;
  if (!take(parse_caps(t.caps), "--caps", t.caps, o.caps, mistake) ||
      !take(parse_memlock(t.memlock), "--memlock", t.memlock, o.memlock, mistake) ||
      !take(parse_pin(t.pin), "--pin", t.pin, o.pin, mistake) ||
      !take(parse_hugetlb(t.hugetlb), "--hugetlb", t.hugetlb, o.hugetlb, mistake) ||
      !take(parse_paths(t.paths), "--paths", t.paths, o.paths, mistake) ||
      !take(parse_host(t.host), "--host", t.host, o.host, mistake)) {
    return wrong("run", mistake);
  }
  // What the command line says goes before what the file says.
  if ((t.phys && !take(parse_phys(*t.phys), "--phys", *t.phys, machine.phys, mistake)) ||
      (t.container && !take(parse_container(*t.container), "--container", *t.container, machine.container, mistake))) {
    return wrong("run", mistake);
  }
  if (t.noiommu) machine.noiommu = machine::NoiommuMode::kOn;
  if (t.selftest) machine.selftest = machine::Selftest::kOn;
  machine.seed_dma_fault = t.seed_dma_fault;
  if (machine.selftest == machine::Selftest::kOn && o.pin == run::PinPolicy::kReal) {
    return wrong("run", "--selftest compares pages by their addresses; it does not go with --pin=real");
  }
  if (const auto settled = settle_real_devices(machine, o, t.phys || machine.phys != machine::PhysSpec{}); !settled)
    return wrong("run", settled.error());
  o.explain = t.explain ? run::Explain::kYes : run::Explain::kNo;
  if (program.empty()) {
    return wrong("run", "no program is given; write it behind --: iommufd-user run -d edu -- PROGRAM [ARGS...]");
  }
  command.dump_tables = t.dump_tables;
  o.argv = std::move(program);
  return command;
}

// `devices` as given.
struct DevicesTexts {
  std::optional<std::string> machine;
  bool host = false;
};

void add_devices_options(CLI::App& devices, DevicesTexts& t) {
  devices.add_option("--machine", t.machine, "Draw the machine in this file: IOMMUs, groups, devices, nodes");
  devices.add_flag("--host", t.host,
                   "List the PCI functions of this machine, and whether they can be used without an IOMMU");
}

Command make_devices_command(const DevicesTexts& t) {
  DevicesCommand command;
  std::string mistake;
  if (t.machine && t.host) return wrong("devices", "--machine is a simulated machine, --host is this one: choose one");
  if (t.machine && (!load(*t.machine, command.machine.emplace(), mistake) || !complete(*command.machine, mistake)))
    return wrong("devices", mistake);
  command.host = t.host ? DevicesCommand::Host::kYes : DevicesCommand::Host::kNo;
  return command;
}

// `bind`, `unbind` and `release` as given.
struct HostTexts {
  std::string function, driver;
};

constexpr const char* kFunctionHelp = "PCI address of a function of this machine, e.g. 0000:00:04.0 (devices --host)";

void add_host_commands(CLI::App& app, HostTexts& t) {
  CLI::App* bind =
      app.add_subcommand("bind", "Take a PCI function of this machine from its driver, so that a program can use it");
  bind->add_option("FUNCTION", t.function, kFunctionHelp)->required();
  bind->add_option("--driver", t.driver,
                   "Bind it to this driver, or to none; default: to the one through which interrupts come, of those "
                   "that the kernel has (docs/host.md)");
  CLI::App* unbind = app.add_subcommand("unbind", "Give a function back: driver and driver_override as before `bind`");
  unbind->add_option("FUNCTION", t.function, kFunctionHelp)->required();
  CLI::App* release =
      app.add_subcommand("release", "Give back the memory that is kept for a function which may still do DMA into it");
  release->add_option("FUNCTION", t.function, kFunctionHelp)->required();
}

Command make_host_command(const CLI::App& chosen, const HostTexts& t) {
  const std::string& name = chosen.get_name();
  HostCommand command;
  command.action = name == "bind"     ? HostCommand::Action::kBind
                   : name == "unbind" ? HostCommand::Action::kUnbind
                                      : HostCommand::Action::kRelease;
  const auto function = parse_address(t.function);
  if (!function) return wrong(name, "FUNCTION: " + function.error());
  command.function = *function;
  const bool is_given = name == "bind" && chosen.count("--driver") != 0;
  const auto is_of_name = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '-'; };
  if (is_given && (t.driver.empty() || !std::ranges::all_of(t.driver, is_of_name)))
    return wrong(name, fmt::format("--driver '{}': is not the name of a driver, e.g. vfio-pci", t.driver));
  if (is_given) command.driver = t.driver == "none" ? "" : t.driver;
  return command;
}

// `dump` as given.
struct DumpTexts {
  std::string pid, out;
  bool json = false;
};

void add_dump_options(CLI::App& dump, DumpTexts& t) {
  dump.add_option("PID", t.pid, "Process of `iommufd-user run`, or of a program under it")->required();
  dump.add_option("--out", t.out, "Write trees, JSON and raw pages to this empty directory; default: print the trees");
  dump.add_flag("--json", t.json, "Print JSON");
}

Command make_dump_command(const DumpTexts& t) {
  DumpCommand command;
  const char* end = t.pid.data() + t.pid.size();
  if (const auto parsed = std::from_chars(t.pid.data(), end, command.pid);
      parsed.ec != std::errc{} || parsed.ptr != end || command.pid <= 0)
    return wrong("dump", fmt::format("PID '{}': must be the number of a process", t.pid));
  if (t.json && !t.out.empty()) return wrong("dump", "--json prints, --out writes files (JSON among them): choose one");
  command.out = t.out;
  command.json = t.json ? DumpCommand::Json::kYes : DumpCommand::Json::kNo;
  return command;
}

}  // namespace

Command parse_command_line(const std::vector<std::string>& arguments) {
  // What stands behind the first "--" belongs to the program and is not looked at.
  const auto separator = std::ranges::find(arguments, "--");
  std::vector<std::string> ours(arguments.begin(), separator);
  std::vector<std::string> program;
  if (separator != arguments.end()) program.assign(separator + 1, arguments.end());

  CLI::App app(
      "Linux's iommufd and VFIO device files for unmodified programs, without root, kernel modules or hardware.",
      "iommufd-user");
  app.set_version_flag("--version", fmt::format("iommufd-user {}", kVersion));
  app.footer(kFooter);
  app.require_subcommand(1);
  RunTexts texts;
  CLI::App* run =
      app.add_subcommand("run", "Run a program that sees /dev/iommu and the devices of a simulated machine");
  add_run_options(*run, texts);
  DumpTexts dump_texts;
  CLI::App* dump = app.add_subcommand("dump", "Print or write the page tables of a running program");
  add_dump_options(*dump, dump_texts);
  CLI::App* devices = app.add_subcommand(
      "devices", "List the device models and their keys, draw a machine, or list this one's functions");
  DevicesTexts devices_texts;
  add_devices_options(*devices, devices_texts);
  HostTexts host_texts;
  add_host_commands(app, host_texts);
  app.add_subcommand("doctor", "Say what this machine offers to `run`, what is missing and what that costs");

  try {
    std::vector<std::string> reversed(ours.rbegin(), ours.rend());  // CLI11 takes its arguments from the back
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    return Answer{0, app.help()};
  } catch (const CLI::CallForVersion& version) {
    return Answer{0, std::string(version.what()) + "\n"};
  } catch (const CLI::ParseError& error) {
    return wrong_usage(app, error, ours);
  }
  if (run->parsed()) return make_run_command(texts, std::move(program));
  if (separator != arguments.end()) {
    return wrong(app.get_subcommands().front()->get_name(), "takes no program");
  }
  if (dump->parsed()) return make_dump_command(dump_texts);
  if (devices->parsed()) return make_devices_command(devices_texts);
  if (const CLI::App* chosen = app.get_subcommands().front(); chosen->get_name() != "doctor")
    return make_host_command(*chosen, host_texts);
  return DoctorCommand{};
}

}  // namespace iommufd::cli

// SPDX-License-Identifier: BSD-3-Clause
#include "cli/command_line.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <optional>

#include "cli/suggest.hpp"
#include "cli/values.hpp"

namespace iommufd::cli {
namespace {

constexpr const char* kRunFooter = R"(
DEVICE is MODEL[,addr=DDDD:BB:DD.F][,iommu=amd|vtd|none][,KEY=VALUE...]:
  addr    PCI address; default: the next free one of 0000:01:00.0, 0000:02:00.0, ...
  iommu   what translates its DMA: an AMD or Intel VT-d IOMMU, or none (noiommu: the device uses
          physical addresses; needs --enable-unsafe-noiommu-mode); default: amd
  KEY     of the model: see `iommufd-user devices`
Without -d there is /dev/iommu and no device.

Exit status: that of PROGRAM (or death by the same signal);
  125  iommufd-user itself failed: wrong usage, or this machine refuses what it needs
  126  PROGRAM was found and cannot be executed
  127  PROGRAM was not found

Examples:
  iommufd-user run -d edu -- ./my_driver
  iommufd-user run -d edu,iommu=vtd,addr=0000:07:00.0,mmap=on -- ls -l /sys/bus/pci/devices/
  iommufd-user run -d edu,iommu=amd -d edu,iommu=none --enable-unsafe-noiommu-mode -- dma_copy
  iommufd-user run -d edu --memlock=64K --explain -- ./my_driver
)";

constexpr const char* kFooter = R"(
Examples:
  iommufd-user run -d edu -- ./my_driver     run a program with one device behind an IOMMU
  iommufd-user run --help                    all options of run
  iommufd-user devices                       the models and their keys
  iommufd-user doctor                        what this machine offers, and what is missing
)";

class RunFormatter final : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App*, std::string) const override {
    return "Usage: iommufd-user run [-d DEVICE]... [OPTIONS] -- PROGRAM [ARGS...]\n";
  }
};

// The options of `run` as given; they are parsed when CLI11 has found them all.
struct RunTexts {
  std::vector<std::string> devices;
  std::string caps = "all", memlock = "real", phys = "fragmented", pin = "auto", paths = "auto", host = "all";
  bool noiommu = false, explain = false;
  u64 seed_dma_fault = 0;
};

void describe_run(CLI::App& run, RunTexts& t) {
  run.formatter(std::make_shared<RunFormatter>());
  run.footer(kRunFooter);
  run.add_option("-d,--device", t.devices, "A device of the machine; may be given again (default: none)")
      ->type_name("DEVICE")
      ->take_all()
      ->allow_extra_args(false);
  run.add_flag("--enable-unsafe-noiommu-mode", t.noiommu,
               "Allow devices without an IOMMU, as the module parameter does (default: off, and their probe fails)");
  run.add_option("--caps", t.caps,
                 "Capabilities that privileged operations see: all, none, real (those of the calling thread), or names "
                 "such as sys_rawio,ipc_lock (default: all)")
      ->type_name("POLICY");
  run.add_option("--memlock", t.memlock,
                 "Limit of pinned memory: real (RLIMIT_MEMLOCK of the program), a size, or unlimited (default: real)")
      ->type_name("LIMIT");
  run.add_option("--phys", t.phys,
                 "Physical memory: fragmented[:SEED] or contiguous[,base=ADDRESS][,size=SIZE] (default: fragmented, so that "
                 "a driver which takes neighbours in memory for neighbours on the bus is caught)")
      ->type_name("LAYOUT");
  run.add_option("--pin", t.pin,
                 "What a mapping holds: auto follows the program's address, real holds the page through io_uring "
                 "(default: auto)")
      ->type_name("POLICY");
  run.add_option("--paths", t.paths,
                 "How the program sees /dev and /sys: intercept (calls are answered), mount (also mounted, so that chdir "
                 "works), auto: mount where that is allowed (default: auto)")
      ->type_name("VIEW");
  run.add_flag("--explain", t.explain, "Say on stderr, for each failing ioctl, which rule failed");
  // For tests: an empty group is not shown.
  run.add_option("--seed-dma-fault", t.seed_dma_fault)->group("")->check(CLI::PositiveNumber);
  run.add_option("--host", t.host)->group("");
}

Answer wrong(std::string_view command, std::string_view what) {
  const std::string name = command.empty() ? "iommufd-user" : fmt::format("iommufd-user {}", command);
  return {run::kExitRunFailed, fmt::format("{0}: {1}\nTry '{0} --help'.\n", name, what)};
}

std::string mistake_of(const CLI::App& app, const CLI::Error& error, const std::vector<std::string>& arguments) {
  // CLI11 knows that something was not expected; the user wants to know what was meant.
  const auto* extras = dynamic_cast<const CLI::ExtrasError*>(&error);
  if (extras == nullptr) return error.what();
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  const std::vector<std::string_view> known(names.begin(), names.end());
  const std::vector<std::string> remaining = app.remaining();
  const std::string& first = remaining.empty() ? arguments.back() : remaining.front();
  if (first.starts_with('-')) {
    const std::string bare = first.substr(0, first.find('='));
    return fmt::format("unknown option '{}'{}", first, suggestion(bare, known));
  }
  return fmt::format("unexpected argument '{}'; PROGRAM and its arguments go behind --", first);
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

Command make_run_command(const RunTexts& t, std::vector<std::string> program) {
  RunCommand command;
  std::string mistake;
  for (const std::string& text : t.devices) {
    machine::DeviceSpec device;
    if (!take(parse_device(text), "-d", text, device, mistake)) return wrong("run", mistake);
    command.machine.devices.push_back(std::move(device));
  }
  if (const auto twice = machine::assign_addresses(command.machine.devices)) {
    return wrong("run", fmt::format("two devices have addr={}; give one of them another address, or none", twice->str()));
  }
  run::Options& o = command.options;
  if (!take(parse_caps(t.caps), "--caps", t.caps, o.caps, mistake) ||
      !take(parse_memlock(t.memlock), "--memlock", t.memlock, o.memlock, mistake) ||
      !take(parse_phys(t.phys), "--phys", t.phys, command.machine.phys, mistake) ||
      !take(parse_pin(t.pin), "--pin", t.pin, o.pin, mistake) ||
      !take(parse_paths(t.paths), "--paths", t.paths, o.paths, mistake) ||
      !take(parse_host(t.host), "--host", t.host, o.host, mistake)) {
    return wrong("run", mistake);
  }
  command.machine.noiommu = t.noiommu ? machine::NoiommuMode::kOn : machine::NoiommuMode::kOff;
  if (t.seed_dma_fault != 0) command.machine.seed_dma_fault = t.seed_dma_fault;
  o.explain = t.explain ? run::Explain::kYes : run::Explain::kNo;
  if (program.empty()) {
    return wrong("run", "no program is given; write it behind --: iommufd-user run -d edu -- PROGRAM [ARGS...]");
  }
  o.argv = std::move(program);
  return command;
}

}  // namespace

Command parse_command_line(const std::vector<std::string>& arguments) {
  // What stands behind the first "--" belongs to the program and is not looked at.
  const auto separator = std::ranges::find(arguments, "--");
  std::vector<std::string> ours(arguments.begin(), separator);
  std::vector<std::string> program;
  if (separator != arguments.end()) program.assign(separator + 1, arguments.end());

  CLI::App app("Linux's iommufd and VFIO device files for unmodified programs, without root, kernel modules or hardware.",
               "iommufd-user");
  app.set_version_flag("--version", fmt::format("iommufd-user {}", kVersion));
  app.footer(kFooter);
  app.require_subcommand(1);
  RunTexts texts;
  CLI::App* run = app.add_subcommand("run", "Run a program that sees /dev/iommu and the devices of a simulated machine");
  describe_run(*run, texts);
  const CLI::App* devices = app.add_subcommand("devices", "List the device models and their keys");
  app.add_subcommand("doctor", "Say what this machine offers to `run`, what is missing and what that costs");

  try {
    std::vector<std::string> reversed(ours.rbegin(), ours.rend());  // CLI11 takes its arguments from the back
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    return Answer{0, app.help()};
  } catch (const CLI::CallForVersion& version) {
    return Answer{0, std::string(version.what()) + "\n"};
  } catch (const CLI::ParseError& error) {
    const auto chosen = app.get_subcommands();
    const CLI::App& where = chosen.empty() ? app : *chosen.front();
    return wrong(chosen.empty() ? "" : where.get_name(), mistake_of(where, error, ours));
  }
  if (run->parsed()) return make_run_command(texts, std::move(program));
  if (separator != arguments.end()) {
    return wrong(devices->parsed() ? "devices" : "doctor", "takes no program");
  }
  if (devices->parsed()) return DevicesCommand{};
  return DoctorCommand{};
}

}  // namespace iommufd::cli

// SPDX-License-Identifier: BSD-3-Clause
// The command iommufd-user.
#include <fmt/core.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string_view>
#include <utility>
#include <variant>

#include "cli/command_line.hpp"
#include "cli/devices.hpp"
#include "cli/doctor.hpp"
#include "cli/dump.hpp"
#include "cli/host_commands.hpp"
#include "cli/machine_drawing.hpp"
#include "dump/directory.hpp"
#include "run/machine_service.hpp"
#include "run/run.hpp"

namespace iommufd::cli {
namespace {

// The error of a text that could not be written, e.g. into a full disk or a closed pipe.
int print(std::FILE* to, const std::string& text, int exit_code) {
  const bool written = std::fwrite(text.data(), 1, text.size(), to) == text.size() && std::fflush(to) == 0;
  return written ? exit_code : run::kExitRunFailed;
}

int execute(const Answer& answer) {
  return print(answer.exit_code == 0 ? stdout : stderr, answer.text, answer.exit_code);
}

int execute(const DevicesCommand& command) {
  if (command.host == DevicesCommand::Host::kYes) return print(stdout, describe_host(), 0);
  if (!command.machine) return print(stdout, describe_devices(), 0);
  const auto machine = machine::Machine::create(*command.machine, [](std::string_view) {});
  if (!machine) return print(stderr, fmt::format("iommufd-user devices: {}\n", machine.error()), run::kExitRunFailed);
  return print(stdout, draw_machine(*command.machine, **machine), 0);
}

int execute(const HostCommand& command) { return execute_host(command); }

int execute(const DumpCommand& command) { return execute_dump(command); }

int execute(const DoctorCommand&) {
  const bool colours = isatty(STDOUT_FILENO) != 0 && std::getenv("NO_COLOR") == nullptr;
  const auto report = examine_machine();
  return print(stdout, render(report, colours ? Colour::kOn : Colour::kOff), verdict(report));
}

int execute(const RunCommand& command) {
  return run::run(command.options, [&]() -> Result<std::unique_ptr<run::Service>> {
    std::optional<dump::Directory> dump_tables;
    if (!command.dump_tables.empty()) {
      auto directory = dump::Directory::open(command.dump_tables);
      if (!directory) {
        fmt::print(stderr, "iommufd-user run: --dump-tables {}\n", directory.error());
        return Err(Errno::kInval);
      }
      dump_tables = *std::move(directory);
    }
    auto machine =
        machine::Machine::create(command.machine, [](std::string_view line) { fmt::print(stderr, "{}\n", line); });
    if (!machine) {
      fmt::print(stderr, "iommufd-user run: {}\n", machine.error());
      return Err(Errno::kInval);
    }
    for (const std::string& function : (*machine)->real_functions())
      fmt::print(stderr, "iommufd-user: warning: {} drives a function that reaches all memory of this machine: {}\n",
                 command.options.argv[0], function);
    return run::make_machine_service(*std::move(machine), std::move(dump_tables));
  });
}

}  // namespace
}  // namespace iommufd::cli

int main(int argc, char** argv) {
  using namespace iommufd::cli;
  try {
    const Command command = parse_command_line({argv + (argc > 0 ? 1 : 0), argv + argc});
    return std::visit([](const auto& c) { return execute(c); }, command);
  } catch (const std::exception& e) {  // out of memory
    static_cast<void>(std::fprintf(stderr, "iommufd-user: %s\n", e.what()));
    return iommufd::run::kExitRunFailed;
  }
}

// SPDX-License-Identifier: BSD-3-Clause
// The command line of iommufd-user as data. Parsing touches nothing but its arguments, the file of --machine, the table of models
// and, for texts, the version.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "machine/spec.hpp"
#include "pci/bdf.hpp"
#include "run/options.hpp"

namespace iommufd::cli {

inline constexpr const char* kVersion = "0.1.0";

struct RunCommand {
  machine::MachineSpec machine;  // complete: as machine::Machine takes it
  run::Options options;
  std::string dump_tables;  // a directory; empty: none
};
struct DumpCommand {
  enum class Json : u8 { kNo, kYes };
  int pid = 0;
  std::string out;  // a directory; empty: print
  Json json = Json::kNo;
};
struct DevicesCommand {
  enum class Host : u8 { kNo, kYes };
  std::optional<machine::MachineSpec> machine;  // complete; absent: list the models
  Host host = Host::kNo;                        // or the functions of this machine
};
struct HostCommand {
  enum class Action : u8 { kBind, kUnbind, kRelease };
  Action action = Action::kBind;
  pci::Bdf function;
  std::optional<std::string> driver;  // of bind; absent: the best for its interrupts; empty: none
};
struct DoctorCommand {};
// Nothing to do but to print: help, version, or what is wrong.
struct Answer {
  int exit_code = 0;  // 0: `text` is for stdout; otherwise for stderr
  std::string text;
};

using Command = std::variant<RunCommand, DumpCommand, DevicesCommand, HostCommand, DoctorCommand, Answer>;

// `arguments` without the name of the program.
Command parse_command_line(const std::vector<std::string>& arguments);

}  // namespace iommufd::cli

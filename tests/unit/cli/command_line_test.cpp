// SPDX-License-Identifier: BSD-3-Clause
#include "cli/command_line.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <fstream>

#include "cli/devices.hpp"
#include "cli/suggest.hpp"
#include "models/registry.hpp"

namespace iommufd::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

Command parse(std::vector<std::string> arguments) { return parse_command_line(arguments); }

RunCommand run_of(std::vector<std::string> arguments) {
  Command c = parse(std::move(arguments));
  if (const auto* answer = std::get_if<Answer>(&c)) ADD_FAILURE() << answer->text;
  return std::holds_alternative<RunCommand>(c) ? std::get<RunCommand>(c) : RunCommand{};
}

// The text of a refusal; its exit code must be 125.
std::string refusal_of(std::vector<std::string> arguments) {
  const Command c = parse(std::move(arguments));
  const auto* answer = std::get_if<Answer>(&c);
  if (answer == nullptr) return "(accepted)";
  EXPECT_EQ(answer->exit_code, 125);
  return answer->text;
}

// A file with that content, as long as it lives.
class MachineFileOf {
 public:
  explicit MachineFileOf(std::string_view text) : path_(testing::TempDir() + "/machine.yaml") {
    std::ofstream(path_) << text;
  }
  ~MachineFileOf() { std::remove(path_.c_str()); }
  MachineFileOf(const MachineFileOf&) = delete;
  MachineFileOf& operator=(const MachineFileOf&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string option() const { return "--machine=" + path_; }

 private:
  std::string path_;
};

TEST(CommandLine, run_without_options_has_the_documented_defaults) {
  const RunCommand c = run_of({"run", "--", "prog"});
  EXPECT_TRUE(c.machine.devices.empty());
  EXPECT_EQ(c.machine.noiommu, machine::NoiommuMode::kOff);
  EXPECT_EQ(c.machine.phys.kind, machine::PhysSpec::Kind::kFragmented);
  EXPECT_FALSE(c.machine.seed_dma_fault);
  EXPECT_EQ(c.options.caps.kind, run::CapsPolicy::Kind::kAll);
  EXPECT_EQ(c.options.memlock.kind, run::MemlockPolicy::Kind::kReal);
  EXPECT_EQ(c.options.pin, run::PinPolicy::kAuto);
  EXPECT_EQ(c.options.paths, run::PathsPolicy::kAuto);
  EXPECT_EQ(c.options.explain, run::Explain::kNo);
  EXPECT_EQ(c.machine.selftest, machine::Selftest::kOff);
  EXPECT_THAT(c.options.argv, ElementsAre("prog"));
}

TEST(CommandLine, everything_behind_the_separator_is_the_programs) {
  const RunCommand c = run_of({"run", "-d", "edu", "--", "prog", "-d", "--help", "--", "x"});
  EXPECT_EQ(c.machine.devices.size(), 1U);
  EXPECT_THAT(c.options.argv, ElementsAre("prog", "-d", "--help", "--", "x"));
}

TEST(CommandLine, devices_without_an_address_get_the_next_free_one) {
  const RunCommand c =
      run_of({"run", "-d", "edu", "-d", "edu,addr=0000:02:00.0", "-d", "edu", "--device=edu", "--", "p"});
  std::vector<std::string> addresses;
  for (const auto& d : c.machine.devices) addresses.push_back(d.address->str());
  EXPECT_THAT(addresses, ElementsAre("0000:01:00.0", "0000:02:00.0", "0000:03:00.0", "0000:04:00.0"));
}

TEST(CommandLine, the_address_after_bus_ff_is_in_the_next_domain) {
  std::vector<machine::DeviceSpec> devices(257);
  EXPECT_FALSE(machine::assign_addresses(devices));
  EXPECT_EQ(devices[254].address->str(), "0000:ff:00.0");
  EXPECT_EQ(devices[255].address->str(), "0001:00:00.0");
}

TEST(CommandLine, an_address_said_twice_is_refused) {
  EXPECT_THAT(refusal_of({"run", "-d", "edu,addr=0000:07:00.0", "-d", "edu,addr=0000:07:00.0", "--", "p"}),
              HasSubstr("two devices have addr=0000:07:00.0"));
}

TEST(CommandLine, kinds_that_devices_name_are_iommus_of_the_machine) {
  const RunCommand c =
      run_of({"run", "-d", "edu,iommu=vtd", "-d", "edu", "-d", "edu,iommu=none", "-d", "edu", "--", "p"});
  ASSERT_EQ(c.machine.iommus.size(), 2U);
  EXPECT_EQ(c.machine.iommus[0].name, "vtd");
  EXPECT_EQ(c.machine.iommus[0].kind, iommu::Kind::kVtd);
  EXPECT_EQ(c.machine.iommus[1].name, "amd");
}

TEST(CommandLine, a_machine_file_gets_the_devices_of_the_command_line_too) {
  const MachineFileOf file("iommus: [{name: left, kind: vtd}]\ndevices: [{model: edu, iommu: left, addr: 01:00.0}]\n");
  const RunCommand c = run_of({"run", file.option(), "-d", "edu,iommu=left", "-d", "edu", "--", "p"});
  ASSERT_EQ(c.machine.devices.size(), 3U);
  EXPECT_EQ(c.machine.devices[1].address->str(), "0000:02:00.0");
  EXPECT_EQ(c.machine.devices[1].iommu, "left");
  ASSERT_EQ(c.machine.iommus.size(), 2U);
  EXPECT_EQ(c.machine.iommus[1].name, "amd");
  EXPECT_THAT(refusal_of({"run", file.option(), "-d", "edu,addr=01:00.0", "--", "p"}),
              HasSubstr("two devices have addr=0000:01:00.0"));
}

TEST(CommandLine, options_go_before_what_a_machine_file_says) {
  const MachineFileOf file(
      "phys: {seed: 7}\nselftest: true\nnoiommu: {enable_unsafe_noiommu_mode: true}\ncontainer: iommufd\n");
  const RunCommand c = run_of({"run", file.option(), "--", "p"});
  EXPECT_EQ(c.machine.phys.seed, 7U);
  EXPECT_EQ(c.machine.selftest, machine::Selftest::kOn);
  EXPECT_EQ(c.machine.noiommu, machine::NoiommuMode::kOn);
  EXPECT_EQ(c.machine.container, machine::ContainerKind::kIommufd);
  const RunCommand d = run_of({"run", file.option(), "--phys=contiguous", "--container=native", "--", "p"});
  EXPECT_EQ(d.machine.phys.kind, machine::PhysSpec::Kind::kContiguous);
  EXPECT_FALSE(d.machine.phys.seed);
  EXPECT_EQ(d.machine.container, machine::ContainerKind::kNative);
  EXPECT_THAT(refusal_of({"run", file.option(), "--pin=real", "--", "p"}), HasSubstr("does not go with --pin=real"));
}

TEST(CommandLine, a_machine_file_that_is_wrong_is_a_usage_error) {
  const MachineFileOf file("devices:\n  - model: edx\n");
  EXPECT_THAT(refusal_of({"run", file.option(), "--", "p"}),
              HasSubstr(file.path() + ":2:12: devices[0].model: unknown model 'edx'"));
  EXPECT_THAT(refusal_of({"run", "--machine=/nonexistent", "--", "p"}), HasSubstr("/nonexistent: cannot be read"));
}

TEST(CommandLine, devices_takes_a_machine_file) {
  const MachineFileOf file("devices: [{model: edu}]\n");
  const auto command = std::get<DevicesCommand>(parse({"devices", file.option()}));
  ASSERT_TRUE(command.machine);
  EXPECT_EQ(command.machine->devices.at(0).address->str(), "0000:01:00.0");
  EXPECT_EQ(command.machine->iommus.at(0).name, "amd");
  EXPECT_THAT(refusal_of({"devices", "--machine=/nonexistent"}),
              AllOf(StartsWith("iommufd-user devices: /nonexistent: cannot be read"), HasSubstr("devices --help")));
}

TEST(CommandLine, functions_of_this_machine_are_listed_and_prepared) {
  EXPECT_EQ(std::get<DevicesCommand>(parse({"devices", "--host"})).host, DevicesCommand::Host::kYes);
  EXPECT_EQ(std::get<DevicesCommand>(parse({"devices"})).host, DevicesCommand::Host::kNo);
  EXPECT_THAT(refusal_of({"devices", "--host", "--machine=/nonexistent"}), HasSubstr("choose one"));
  const auto bind = std::get<HostCommand>(parse({"bind", "00:04.0", "--driver", "vfio-pci"}));
  EXPECT_EQ(bind.action, HostCommand::Action::kBind);
  EXPECT_EQ(bind.function.str(), "0000:00:04.0");
  EXPECT_EQ(bind.driver, "vfio-pci");
  EXPECT_EQ(std::get<HostCommand>(parse({"bind", "00:04.0"})).driver, std::nullopt);
  EXPECT_EQ(std::get<HostCommand>(parse({"bind", "00:04.0", "--driver=none"})).driver, "");
  EXPECT_EQ(std::get<HostCommand>(parse({"unbind", "00:04.0"})).action, HostCommand::Action::kUnbind);
  EXPECT_EQ(std::get<HostCommand>(parse({"release", "00:04.0"})).action, HostCommand::Action::kRelease);
}

TEST(CommandLine, functions_and_drivers_have_the_form_that_the_kernel_gives_them) {
  EXPECT_THAT(refusal_of({"bind"}), AllOf(HasSubstr("FUNCTION is required"), HasSubstr("bind --help")));
  EXPECT_THAT(refusal_of({"unbind", "eth0"}), HasSubstr("FUNCTION: eth0 is not a PCI address"));
  for (const char* driver : {"", "../nvme", "a/b", "a b"})
    EXPECT_THAT(refusal_of({"bind", "00:04.0", "--driver", driver}), HasSubstr("is not the name of a driver"))
        << driver;
  EXPECT_THAT(refusal_of({"unbind", "00:04.0", "--driver=nvme"}), HasSubstr("unknown option '--driver"));
  EXPECT_THAT(refusal_of({"bind", "00:04.0", "--", "prog"}), HasSubstr("takes no program"));
}

TEST(CommandLine, a_group_has_one_iommu) {
  EXPECT_THAT(refusal_of({"run", "-d", "edu,group=g", "-d", "edu,iommu=vtd,group=g", "--", "p"}),
              HasSubstr("group=g would hold 0000:01:00.0 behind amd and 0000:02:00.0 behind vtd"));
}

TEST(CommandLine, options_reach_their_fields) {
  const RunCommand c =
      run_of({"run", "--enable-unsafe-noiommu-mode", "--caps=none", "--memlock", "64K", "--phys=contiguous",
              "--pin=real", "--paths=mount", "--explain", "--seed-dma-fault=3", "--host=floor", "--", "p"});
  EXPECT_EQ(c.machine.noiommu, machine::NoiommuMode::kOn);
  EXPECT_EQ(c.machine.phys.kind, machine::PhysSpec::Kind::kContiguous);
  EXPECT_EQ(c.machine.seed_dma_fault, 3U);
  EXPECT_EQ(c.options.caps.kind, run::CapsPolicy::Kind::kNone);
  EXPECT_EQ(c.options.memlock.bytes, 65536U);
  EXPECT_EQ(c.options.pin, run::PinPolicy::kReal);
  EXPECT_EQ(c.options.paths, run::PathsPolicy::kMount);
  EXPECT_EQ(c.options.explain, run::Explain::kYes);
  EXPECT_EQ(c.options.host, run::HostFeatures::kFloor);
}

TEST(CommandLine, refusals_name_the_option_the_value_and_the_way_out) {
  EXPECT_THAT(
      refusal_of({"run", "-d", "edx", "--", "p"}),
      AllOf(StartsWith("iommufd-user run: -d 'edx': unknown model"), HasSubstr("Try 'iommufd-user run --help'")));
  EXPECT_THAT(refusal_of({"run", "--caps=x", "--", "p"}), StartsWith("iommufd-user run: --caps 'x': "));
  EXPECT_THAT(refusal_of({"run", "--memlock=x", "--", "p"}), StartsWith("iommufd-user run: --memlock 'x': "));
  EXPECT_THAT(refusal_of({"run", "--phys=x", "--", "p"}), StartsWith("iommufd-user run: --phys 'x': "));
  EXPECT_THAT(refusal_of({"run", "--pin=x", "--", "p"}), StartsWith("iommufd-user run: --pin 'x': "));
  EXPECT_THAT(refusal_of({"run", "--paths=x", "--", "p"}), StartsWith("iommufd-user run: --paths 'x': "));
}

TEST(CommandLine, the_test_abi_goes_with_memory_that_is_followed) {
  EXPECT_EQ(run_of({"run", "--selftest", "--", "p"}).machine.selftest, machine::Selftest::kOn);
  EXPECT_THAT(refusal_of({"run", "--selftest", "--pin=real", "--", "p"}), HasSubstr("it does not go with --pin=real"));
}

TEST(CommandLine, a_missing_program_is_told_where_to_stand) {
  EXPECT_THAT(refusal_of({"run"}), HasSubstr("no program is given; write it behind --"));
  EXPECT_THAT(refusal_of({"run", "-d", "edu", "--"}), HasSubstr("no program is given"));
  EXPECT_THAT(refusal_of({"run", "-d", "edu", "./prog"}),
              HasSubstr("unexpected argument './prog'; PROGRAM and its arguments go behind --"));
}

TEST(CommandLine, unknown_words_are_named) {
  EXPECT_THAT(refusal_of({}), HasSubstr("name a command: run, dump, devices, bind, unbind, release, doctor"));
  EXPECT_THAT(refusal_of({"rum", "--", "p"}),
              AllOf(HasSubstr("unknown command 'rum'"), HasSubstr("did you mean 'run'?")));
  EXPECT_THAT(refusal_of({"--frobnicate"}), HasSubstr("unknown option '--frobnicate'"));
  EXPECT_THAT(refusal_of({"run", "--pahts=mount", "--", "p"}),
              AllOf(HasSubstr("unknown option '--pahts=mount'"), HasSubstr("did you mean '--paths'?")));
  EXPECT_THAT(refusal_of({"run", "--enable-unsafe", "--", "p"}),
              HasSubstr("did you mean '--enable-unsafe-noiommu-mode'?"));
  EXPECT_THAT(refusal_of({"devices", "--", "p"}), HasSubstr("takes no program"));
  EXPECT_THAT(refusal_of({"doctor", "now"}), HasSubstr("'now'"));
  EXPECT_THAT(refusal_of({"run", "-d"}), HasSubstr("--device"));
  EXPECT_THAT(refusal_of({"run", "--seed-dma-fault=x", "--", "p"}), HasSubstr("--seed-dma-fault"));
}

TEST(CommandLine, dump_takes_a_process_and_says_where_to) {
  const auto plain = std::get<DumpCommand>(parse({"dump", "1234"}));
  EXPECT_EQ(plain.pid, 1234);
  EXPECT_EQ(plain.out, "");
  EXPECT_EQ(plain.json, DumpCommand::Json::kNo);
  EXPECT_EQ(std::get<DumpCommand>(parse({"dump", "1", "--json"})).json, DumpCommand::Json::kYes);
  EXPECT_EQ(std::get<DumpCommand>(parse({"dump", "--out", "d", "1"})).out, "d");
  EXPECT_EQ(run_of({"run", "--dump-tables=d", "--", "p"}).dump_tables, "d");
  for (const char* pid : {"x", "0", "12x", "99999999999"})
    EXPECT_THAT(refusal_of({"dump", pid}), HasSubstr("must be the number of a process")) << pid;
  EXPECT_THAT(refusal_of({"dump"}), HasSubstr("PID"));
  EXPECT_THAT(refusal_of({"dump", "1", "--json", "--out", "d"}), HasSubstr("choose one"));
  EXPECT_THAT(refusal_of({"dump", "1", "--", "p"}), HasSubstr("takes no program"));
}

TEST(CommandLine, other_commands_are_chosen) {
  EXPECT_FALSE(std::get<DevicesCommand>(parse({"devices"})).machine);
  EXPECT_TRUE(std::holds_alternative<DoctorCommand>(parse({"doctor"})));
}

TEST(CommandLine, version_and_help_are_answered_on_stdout) {
  const auto version = std::get<Answer>(parse({"--version"}));
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_EQ(version.text, std::string("iommufd-user ") + kVersion + "\n");
  const auto help = std::get<Answer>(parse({"--help"}));
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.text, AllOf(HasSubstr("Examples:"), HasSubstr("iommufd-user doctor")));
}

TEST(CommandLine, the_help_of_run_has_every_option_but_those_for_tests) {
  const std::string help = std::get<Answer>(parse({"run", "--help"})).text;
  for (const char* name :
       {"-d, --device", "--enable-unsafe-noiommu-mode", "--caps", "--memlock", "--phys", "--pin", "--paths",
        "--selftest", "--machine", "--explain", "--dump-tables", "125", "126", "127", "Examples:"}) {
    EXPECT_THAT(help, HasSubstr(name));
  }
  EXPECT_THAT(help, Not(HasSubstr("--seed-dma-fault")));
  EXPECT_THAT(help, Not(HasSubstr("--host")));
}

TEST(Devices, lists_each_model_and_all_its_keys) {
  const std::string text = describe_devices();
  for (const models::Kind& kind : models::all()) {
    EXPECT_THAT(text, HasSubstr(kind.name));
    for (const models::Key& key : kind.keys) EXPECT_THAT(text, AllOf(HasSubstr(key.name), HasSubstr(key.help)));
  }
  EXPECT_THAT(text, HasSubstr("--enable-unsafe-noiommu-mode"));
}

TEST(Suggest, counts_edits) {
  EXPECT_EQ(edit_distance("", ""), 0U);
  EXPECT_EQ(edit_distance("edu", "edu"), 0U);
  EXPECT_EQ(edit_distance("edu", "ed"), 1U);
  EXPECT_EQ(edit_distance("mask", "maks"), 1U);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
  EXPECT_EQ(edit_distance("", "abc"), 3U);
}

TEST(Suggest, is_silent_when_nothing_is_near) {
  constexpr std::array<std::string_view, 2> kWords{"iommu", "addr"};
  EXPECT_EQ(suggestion("iomu", kWords), " (did you mean 'iommu'?)");
  EXPECT_EQ(suggestion("banana", kWords), "");
  EXPECT_EQ(suggestion("x", {}), "");
}

}  // namespace
}  // namespace iommufd::cli

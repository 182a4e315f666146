// SPDX-License-Identifier: BSD-3-Clause
// Interrupts of devices whose registers are mapped, under `iommufd-user run`: from the store that raises one to the count in
// the eventfd, seen by a reader that spins, and what the poller costs when nobody does anything. Prints ROW lines (see
// tools/bench).
//
//   transport_interrupt_bench [--quick]      IOMMUFD_BUILD_DIR: the build tree (default: the directory above this program's)
#include <string>
#include <vector>

#include "bench/transport_runs.hpp"

namespace {

using namespace runs;

constexpr int kIdleDevices = 8;

struct Setup {
  std::string product, client;
  int rounds = 5;
  int interrupts = 5000;
  int idle_seconds = 3;
};

void latencies(const Setup& setup) {
  const Command program{setup.client, "latency", std::to_string(setup.interrupts), "0000:01:00.0"};
  const Figures got = figures(run(under_run(setup.product, {"-d", "edu,mmap=on,msix=8"}, program), Output::kRead));
  for (const auto& [name, ns] : got) {
    const bool is_median = name.find('_') == std::string::npos;
    row("interrupt/" + name, ns / 1000, "us", is_median ? "max=15" : "");
  }
  const Command idle{setup.client, "after_idle", "0000:01:00.0"};
  row("interrupt/after_a_second",
      figures(run(under_run(setup.product, {"-d", "edu,mmap=on"}, idle), Output::kRead)).at("first") / 1000, "us");
}

void idle_cost(const Setup& setup) {
  std::vector<std::string> options;
  Command program{setup.client, "idle", std::to_string(setup.idle_seconds)};
  for (int i = 1; i <= kIdleDevices; ++i) {
    options.insert(options.end(), {"-d", "edu,mmap=on"});
    program.push_back("0000:0" + std::to_string(i) + ":00.0");
  }
  const double ns = figures(run(under_run(setup.product, options, program), Output::kRead)).at("server");
  row("interrupt/poller_of_8_idle", 100 * ns / (setup.idle_seconds * 1e9), "%", "max=2");
}

}  // namespace

int main(int argc, char** argv) {
  const std::filesystem::path build = build_tree();
  Setup setup{.product = build / "iommufd-user", .client = build / "bench" / "interrupt_client"};
  if (argc > 1 && std::string(argv[1]) == "--quick") {
    setup.rounds = 2;
    setup.interrupts = 500;
    setup.idle_seconds = 1;
  }
  for (int round = 0; round < setup.rounds; ++round) {
    latencies(setup);
    idle_cost(setup);
  }
  return 0;
}

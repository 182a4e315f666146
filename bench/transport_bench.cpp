// SPDX-License-Identifier: BSD-3-Clause
// What `iommufd-user run` costs an unmodified program, from outside: requests that the server answers beside the bare
// calls that they are made of, system calls that concern nobody, and the start of a program. Rounds of all kinds
// alternate, so that a change of the machine's speed meets all of them. Prints ROW lines (see tools/bench).
//
//   transport_bench [--quick]      IOMMUFD_BUILD_DIR: the build tree (default: the directory above this program's)
#include <string>
#include <vector>

#include "bench/bare_transport.hpp"
#include "bench/transport_runs.hpp"

namespace {

using namespace runs;

struct Setup {
  std::string product;  // the command
  std::string client;   // transport_client
  int rounds = 9;
  long requests = 2000;  // per batch, answered by the server
  long natives = 20000;  // per batch, not
  int starts = 15;       // programs per round
};

void requests(const Setup& setup) {
  const bare::Floor floor = bare::measure(setup.requests);
  row("bare/notify_echo", floor.echo, "ns");
  row("bare/identify", floor.identify, "ns");
  row("bare/read_40b", floor.read, "ns");
  row("bare/write_40b", floor.write, "ns");
  row("bare/sum", floor.sum(), "ns");
  row("bare/whole_request", floor.whole, "ns", "vs=bare/sum");
  const Command program{setup.client, "iommu", std::to_string(setup.requests), "0000:01:00.0"};
  Figures got = figures(run(under_run(setup.product, {"-d", "edu,iommu=amd"}, program), Output::kRead));
  row("run/ioctl_40b", got["ioctl_40b"], "ns", "vs=bare/sum max_ratio=1.25");
  row("run/map_unmap_4k", got["map_unmap_4k"], "ns", "vs=bare/sum");
  row("run/config_read_4b", got["config_read_4b"], "ns", "vs=bare/sum");
  const Command stores{setup.client, "stores", std::to_string(setup.requests), "0000:01:00.0"};
  got = figures(run(under_run(setup.product, {"-d", "edu,mmap=exact"}, stores), Output::kRead));
  row("run/exact_store", got["exact_store"], "ns", "vs=bare/sum");
}

void foreign_calls(const Setup& setup) {
  const Command program{setup.client, "native", std::to_string(setup.natives)};
  const Figures without = figures(run(program, Output::kRead));
  const Figures with = figures(run(under_run(setup.product, {}, program), Output::kRead));
  const Command filtered{setup.client, "filtered", std::to_string(setup.natives)};
  row("bare/filter_mmap_munmap", figures(run(filtered, Output::kRead)).at("mmap_munmap") - without.at("mmap_munmap"),
      "ns");
  for (const auto& [name, value] : with) {
    const bool notified = name == "open_close" || name == "stat";
    row("added/" + name, value - without.at(name), "ns", notified ? "" : "max=100");
  }
}

double start_ms(const Setup& setup, const Command& command) {
  std::vector<double> each;
  for (int i = 0; i < setup.starts; ++i) {
    const double start = bare::now_ns();
    run(command, Output::kDropped);
    each.push_back((bare::now_ns() - start) / 1e6);
  }
  return bare::median(each);
}

void starts(const Setup& setup) {
  const double alone = start_ms(setup, {"/bin/true"});
  row("start/bare_true", alone, "ms");
  for (const char* view : {"intercept", "mount"}) {
    const double ms = start_ms(setup, under_run(setup.product, {std::string("--paths=") + view}, {"/bin/true"}));
    row(std::string("start/added_") + view, ms - alone, "ms", "max=3");
    const double with_device = start_ms(
        setup, under_run(setup.product, {std::string("--paths=") + view, "-d", "edu,iommu=amd"}, {"/bin/true"}));
    row(std::string("start/added_") + view + "_device", with_device - alone, "ms");
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::filesystem::path build = build_tree();
  Setup setup{.product = build / "iommufd-user", .client = build / "bench" / "transport_client"};
  if (argc > 1 && std::string(argv[1]) == "--quick") {
    setup.rounds = 2;
    setup.requests = 200;
    setup.natives = 2000;
    setup.starts = 3;
  }
  for (int round = 0; round < setup.rounds; ++round) {
    requests(setup);
    foreign_calls(setup);
    starts(setup);
  }
  return 0;
}

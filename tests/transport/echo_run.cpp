// SPDX-License-Identifier: BSD-3-Clause
// `echo_run [--paths=intercept|mount] [--floor] [--caps=none|real] [--pin=real] [--explain] -- PROGRAM [ARGS]`: the runner
// with the echo service.
#include <cstdio>
#include <string_view>

#include "run/run.hpp"
#include "tests/transport/echo_service.hpp"

int main(int argc, char** argv) {
  using namespace iommufd::run;
  Options options;
  int at = 1;
  for (; at < argc; ++at) {
    const std::string_view word = argv[at];
    if (word == "--") {
      ++at;
      break;
    }
    if (word == "--paths=intercept")
      options.paths = PathsPolicy::kIntercept;
    else if (word == "--paths=mount")
      options.paths = PathsPolicy::kMount;
    else if (word == "--floor")
      options.host = HostFeatures::kFloor;
    else if (word == "--caps=none")
      options.caps.kind = CapsPolicy::Kind::kNone;
    else if (word == "--caps=real")
      options.caps.kind = CapsPolicy::Kind::kReal;
    else if (word == "--pin=real")
      options.pin = PinPolicy::kReal;
    else if (word == "--explain")
      options.explain = Explain::kYes;
    else {
      std::fprintf(stderr, "echo_run: unknown option %s\n", argv[at]);
      return 125;
    }
  }
  options.argv.assign(argv + at, argv + argc);
  if (options.argv.empty()) return 125;
  return run(options, make_echo_service);
}

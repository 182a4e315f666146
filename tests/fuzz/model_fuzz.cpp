// SPDX-License-Identifier: BSD-3-Clause
// Every core command, in any order, on one open of /dev/iommu with several IOASes, HWPTs, devices of both kinds, accesses
// and two processes that call; compared with a model after each step (session.hpp, model.hpp).
#include "tests/fuzz/session.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace iommufd::fuzz;
  static Machine machine;
  Input input(data, std::min<std::size_t>(size, 1024));
  Session session(machine, input);
  while (!input.empty()) session.step(input);
  return 0;
}

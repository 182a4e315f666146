// SPDX-License-Identifier: BSD-3-Clause
// A libFuzzer program without libFuzzer, for compilers and sanitizers that have none: inputs are random bytes.
#include "tests/fuzz/seeds.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int argc, char** argv) {
  using namespace iommufd::fuzz;
  Seeds::parse(argc, argv, 40).each([](iommufd::u64 seed) {
    Random random(seed);
    std::array<std::uint8_t, 1024> input{};
    for (std::uint8_t& byte : input) byte = static_cast<std::uint8_t>(random.next());
    LLVMFuzzerTestOneInput(input.data(), input.size());
  });
  return 0;
}

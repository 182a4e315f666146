// SPDX-License-Identifier: BSD-3-Clause
// What the programs share that need no libFuzzer: one seed is one run, and the same seed asks the same.
//   PROGRAM [--seed N] [--runs N | --seconds N]
#pragma once

#include <chrono>
#include <string_view>

#include "tests/fuzz/sandbox.hpp"

namespace iommufd::fuzz {

// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
class Random {
 public:
  explicit Random(u64 seed) : state_(seed) {}
  u64 next() {
    u64 z = state_ += 0x9e37'79b9'7f4a'7c15;
    z = (z ^ (z >> 30)) * 0xbf58'476d'1ce4'e5b9;
    z = (z ^ (z >> 27)) * 0x94d0'49bb'1331'11eb;
    return z ^ (z >> 31);
  }
  u64 below(u64 n) { return next() % n; }
  bool one_in(u64 n) { return below(n) == 0; }

 private:
  u64 state_;
};

struct Seeds {
  u64 first = 1;
  u64 runs = 1;
  u64 seconds = 0;  // not 0: as many runs as fit

  static Seeds parse(int argc, char** argv, u64 runs) {
    Seeds seeds{.first = 1, .runs = runs, .seconds = 0};
    for (int i = 1; i + 1 < argc; i += 2) {
      const std::string_view name = argv[i];
      const u64 value = std::strtoull(argv[i + 1], nullptr, 0);
      FUZZ_CHECK(name == "--seed" || name == "--runs" || name == "--seconds");
      (name == "--seed" ? seeds.first : name == "--runs" ? seeds.runs : seeds.seconds) = value;
    }
    return seeds;
  }
  // Calls run(seed) for each. A finding ends the program and says the seed.
  template <class F>
  void each(F&& run) const {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    u64 done = 0;
    for (; seconds != 0 ? std::chrono::steady_clock::now() < end : done < runs; ++done) {
      t_where = {.seed = first + done, .thread = 0, .step = 0};
      run(first + done);
    }
    std::printf("%llu runs from seed %llu found nothing\n", static_cast<unsigned long long>(done),
                static_cast<unsigned long long>(first));
  }
};

}  // namespace iommufd::fuzz

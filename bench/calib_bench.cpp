// SPDX-License-Identifier: BSD-3-Clause
// What this machine can do at best, measured in the same run as everything else: the other rows name these as their
// reference, so that a figure can be read on a machine of another speed.
#include <benchmark/benchmark.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>

namespace {

// Half a table page of 8-byte entries, warm: what clearing or filling 256 entries costs at least.
void calib_memset_2k(benchmark::State& state) {
  alignas(64) std::array<unsigned char, 2048> page{};
  int value = 0;
  for (auto _ : state) {
    std::memset(page.data(), value++ & 0xff, page.size());
    benchmark::DoNotOptimize(page.data());
    benchmark::ClobberMemory();
  }
}
BENCHMARK(calib_memset_2k)->Name("calib/memset_2k");

// One uncontended locked compare-exchange: what publishing one entry, or taking a lock, costs at least.
void calib_cmpxchg(benchmark::State& state) {
  std::atomic<std::uint64_t> word{0};
  std::uint64_t expected = 0;
  for (auto _ : state) {
    word.compare_exchange_strong(expected, expected + 1);
    benchmark::DoNotOptimize(++expected);
  }
}
BENCHMARK(calib_cmpxchg)->Name("calib/cmpxchg");

// Three loads, each from the address the one before returned, all in the first-level cache: a warm three-level walk.
void calib_chain3(benchmark::State& state) {
  std::array<void*, 3> cell{};
  cell[0] = &cell[1];
  cell[1] = &cell[2];
  cell[2] = &cell[0];
  void* at = cell.data();
  for (auto _ : state) {
    for (int i = 0; i < 3; ++i) at = *static_cast<void* volatile*>(at);
    benchmark::DoNotOptimize(at);
  }
}
BENCHMARK(calib_chain3)->Name("calib/l1_chain_3");

// The cheapest system call.
void calib_getppid(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(::syscall(SYS_getppid));
}
BENCHMARK(calib_getppid)->Name("calib/getppid");

}  // namespace

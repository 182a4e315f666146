// SPDX-License-Identifier: BSD-3-Clause
// Threads on shared objects. Workers know every answer in their own windows (worker.hpp), churners make, attach and destroy
// what is shared (churner.hpp), a device transfers all the time. Each run is one seed: what each thread asks is repeatable,
// how they meet is not. For the thread sanitizer; without one it still compares every answer.
#include <thread>

#include "tests/fuzz/churner.hpp"
#include "tests/fuzz/worker.hpp"

namespace iommufd::fuzz {
namespace {

constexpr u64 kWorkers = 3, kChurners = 2;
constexpr u64 kSteps = 250;

void run(Machine& machine, std::span<const std::unique_ptr<Client>> clients, u64 seed) {
  World world(machine, *clients[0]);
  std::atomic<bool> stop{false};
  {
    std::vector<std::jthread> others;
    const auto start = [&](std::vector<std::jthread>& threads, u64 number, auto&& body) {
      threads.emplace_back([seed, number, body] {
        t_where = {.seed = seed, .thread = number, .step = 0};
        body();
      });
    };
    for (u64 i = 0; i < kChurners; ++i)
      start(others, kWorkers + i,
            [&, i] { Churner(world, *clients[kWorkers + i], seed, kWorkers + i, i == 0 ? 2 : 5).run(kSteps, stop); });
    start(others, kWorkers + kChurners, [&] { background_dma(world, seed, kWorkers, stop); });
    {
      std::vector<std::jthread> workers;
      for (u64 i = 0; i < kWorkers; ++i) start(workers, i, [&, i] { Worker(world, *clients[i], seed, i).run(kSteps); });
    }
    stop = true;
  }
  world.close(*clients[0]);
  for (const auto& client : clients) {
    for (const auto& process : {client->process, client->elsewhere})
      FUZZ_CHECK(process->vm_pinned().pages() == 0 && process->user_locked().pages() == 0);
  }
}

}  // namespace
}  // namespace iommufd::fuzz

int main(int argc, char** argv) {
  using namespace iommufd::fuzz;
  Machine machine;
  std::vector<std::unique_ptr<Client>> clients;
  for (iommufd::u64 i = 0; i < kWorkers + kChurners; ++i) clients.push_back(std::make_unique<Client>(machine.file()));
  Seeds::parse(argc, argv, 20).each([&](iommufd::u64 seed) { run(machine, clients, seed); });
  return 0;
}

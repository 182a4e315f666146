// SPDX-License-Identifier: BSD-3-Clause
// busy_reader BDF PROGRESS SIZE shared|private: keeps 63 reads of SIZE bytes in flight on an NVMe controller, into memory of a memfd or
// of our own, until it is killed. PROGRESS is a file of 8 bytes: how many reads have completed. Exit: 2, when something fails.
#include <fcntl.h>
#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <random>
#include <string_view>
#include <vector>

#include "examples/nvme_driver.hpp"

int main(int argc, char** argv) {
  using namespace nvme;
  if (argc != 5) return 2;
  const int file = need(::open(argv[2], O_RDWR | O_CLOEXEC), argv[2]);
  void* shared = ::mmap(nullptr, sizeof(u64), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (shared == MAP_FAILED) fail("mmap");
  std::atomic_ref<u64> progress(*static_cast<u64*>(shared));
  const u64 size = std::strtoull(argv[3], nullptr, 0);
  const Device device(argv[1]);
  Controller controller(device, std::string_view(argv[4]) == "private" ? Sharing::kPrivate : Sharing::kShared,
                        Completion::kPolled);
  std::vector<Buffer> slots;
  for (int i = 0; i < kEntries - 1; ++i) slots.push_back(controller.buffer(size));
  std::minstd_rand random(1);
  const auto send = [&](u16 slot) {
    Sqe s = controller.transfer(kRead, random() % (controller.size / size) * size, slots[slot], size);
    s.cid = slot;
    controller.io.put(s);
  };
  for (u16 i = 0; i < slots.size(); ++i) send(i);
  for (;;) {
    controller.io.ring();
    controller.io.wait([&](const Cqe& e) {
      if (e.status >> 1 != 0) fail("a read failed with status %#x", unsigned{e.status} >> 1);
      progress.fetch_add(1);
      send(e.cid);
    });
  }
}

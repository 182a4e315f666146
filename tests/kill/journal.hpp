// SPDX-License-Identifier: BSD-3-Clause
// What the client knows of each block, in a file that it maps and that outlives it: versions (tests/support/block_stamp.hpp)
// that it has sent, that were acknowledged, and that were flushed. One write of a block is in flight at a time, so that the
// versions of a block have an order.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace kills {

struct Journal {
  static constexpr std::uint64_t kBlocks = 1024;
  // Blocks that nobody writes, at both ends, with the version 1.
  static constexpr std::uint64_t kFringe = 32;
  using Version = std::atomic<std::uint64_t>;

  std::atomic<std::int32_t> worker;  // the process that has the device; 0: it has not begun
  std::atomic<std::int32_t> heir;    // 1: another process has begun after it
  std::atomic<std::uint64_t> flushes;
  std::array<Version, kBlocks> sent, acknowledged, flushed;

  static Journal& map(const char* path) {
    const int fd = ::open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    void* p = fd < 0 || ::ftruncate(fd, sizeof(Journal)) != 0
                  ? MAP_FAILED
                  : ::mmap(nullptr, sizeof(Journal), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
      std::perror(path);
      std::exit(2);
    }
    ::close(fd);
    return *static_cast<Journal*>(p);
  }
};

}  // namespace kills

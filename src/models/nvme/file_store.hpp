// SPDX-License-Identifier: BSD-3-Clause
// Blocks in a file of the host. With io_uring jobs run beside the controller; where the host refuses it (many containers do)
// each one is done with pread and pwrite before start() returns. Flush is fdatasync, a durable write is RWF_DSYNC.
//
// A block that is read while it is written is read whole, old or new (NVMe 1.4, 6.4: one block is atomic), which the host's file systems do
// not promise: of jobs that touch the same bytes, and of which one changes them, the later waits for the earlier.
//
// The ring is made with the first job, by the thread that serves the controller then, in the process that does.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "base/fd.hpp"
#include "models/nvme/store.hpp"

namespace iommufd::models::nvme {

enum class Engine : u8 { kUring, kSync };

// The jobs that may run at once; start() is not called with more.
inline constexpr u32 kMostJobs = 256;

class FileStore final : public Store {
 public:
  // `note` is told when io_uring is refused.
  FileStore(Fd file, Engine engine, std::function<void(std::string_view)> note);
  ~FileStore() override;

  std::span<std::byte> memory() override { return {}; }
  std::optional<Result<void>> start(Job& job) override;
  void submit() override;
  std::optional<Done> collect() override;
  void drain() override;

 private:
  class Ring;
  bool use_ring();
  // start() of a job that waits for nobody.
  std::optional<Result<void>> begin(Job& job);
  std::optional<Done> reap();
  [[nodiscard]] bool must_wait(const Job& job, std::size_t waiting) const;
  // Begins those that have waited long enough.
  void begin_waiting();

  const Fd file_;
  Engine engine_;
  const std::function<void(std::string_view)> note_;
  std::unique_ptr<Ring> ring_;
  std::vector<Job*> running_;  // in the ring
  u32 changing_ = 0;           // of these and of those that wait, how many change blocks
  std::deque<Job*> waiting_;   // in the order in which they came
  std::deque<Done> done_;      // of these, at once
};

}  // namespace iommufd::models::nvme

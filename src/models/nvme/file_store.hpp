// SPDX-License-Identifier: BSD-3-Clause
// Blocks in a file of the host. With io_uring jobs run beside the controller; where the host refuses it (many containers do)
// each one is done with pread and pwrite before start() returns. Flush is fdatasync, a durable write is RWF_DSYNC.
//
// The ring is made with the first job, by the thread that serves the controller then, in the process that does.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

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
  std::optional<Done> reap();

  const Fd file_;
  Engine engine_;
  const std::function<void(std::string_view)> note_;
  std::unique_ptr<Ring> ring_;
};

}  // namespace iommufd::models::nvme

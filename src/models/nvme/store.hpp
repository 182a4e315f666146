// SPDX-License-Identifier: BSD-3-Clause
// Where the blocks are: memory of this process, or a file. A job is done at once or later; one thread at a time uses a
// store. What a job's buffer holds belongs to the store until the job is done.
#pragma once

#include <optional>
#include <span>

#include "base/result.hpp"
#include "base/types.hpp"

namespace iommufd::models::nvme {

struct Job {
  enum class Kind : u8 {
    kRead,
    kWrite,
    kZero,        // the range reads as zeros afterwards
    kDeallocate,  // the same, and its space may be given back
    kFlush,       // all that was done before outlives a crash
  };
  // A write that outlives a crash as soon as it is done.
  enum class Durable : u8 { kNo, kYes };

  Kind kind = Kind::kRead;
  Durable durable = Durable::kNo;
  u64 offset = 0;
  u64 length = 0;
  std::byte* buffer = nullptr;  // of `length` bytes: kRead, kWrite
};

class Store {
 public:
  virtual ~Store() = default;

  // The bytes themselves when they lie in memory: then reads and writes need no job. Empty otherwise.
  virtual std::span<std::byte> memory() = 0;
  // How it ended, or nothing: it runs, and collect() will tell. Errors: what the host's call said.
  virtual std::optional<Result<void>> start(Job& job) = 0;
  // Hands over what start() has prepared. Once after several starts.
  virtual void submit() = 0;
  struct Done {
    Job* job;
    Result<void> result;
  };
  // A job that is done, if there is one.
  virtual std::optional<Done> collect() = 0;
  // Waits until nothing runs. Results are dropped.
  virtual void drain() = 0;
};

}  // namespace iommufd::models::nvme

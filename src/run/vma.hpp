// SPDX-License-Identifier: BSD-3-Clause
// What is mapped where in a client: /proc/PID/maps, asked for one address at a time (PROCMAP_QUERY, Linux 6.11) or read
// as text.
#pragma once

#include <sys/types.h>

#include <optional>
#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "base/types.hpp"
#include "run/options.hpp"

namespace iommufd::run {

struct Vma {
  u64 start = 0;
  u64 end = 0;
  u64 file_offset = 0;  // of `start`
  u64 page_size = kPageSize;
  u64 seen_page_size =
      kPageSize;  // by the client, who may take it for huge pages (huge_pool.hpp); not read from the kernel
  dev_t dev = 0;
  ino_t inode = 0;  // 0: no file behind it
  Access access = Access::kNone;
  bool shared = false;
};

// The mappings of one memory. It keeps speaking of that memory when its process has replaced it by an exec. Thread-safe.
class VmaReader {
 public:
  // Pre: `tid` is alive. Errors: kAcces, kNoEnt.
  static Result<VmaReader> open(pid_t tid, HostFeatures host);

  // The mapping that holds `address`. Errors: kFault when there is none; kSrch when the memory is gone.
  Result<Vma> find(u64 address) const;

 private:
  VmaReader(Fd fd, HostFeatures host) : fd_(std::move(fd)), host_(host) {}
  Result<Vma> query(u64 address) const;
  Result<Vma> scan(u64 address) const;
  Fd fd_;
  HostFeatures host_;
};

}  // namespace iommufd::run

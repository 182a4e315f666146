// SPDX-License-Identifier: BSD-3-Clause
// Thin wrappers of host system calls: errno becomes Result here, and only here.
#pragma once

#include <cerrno>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "base/types.hpp"

namespace iommufd::sys {

inline Errno last_errno() { return static_cast<Errno>(errno); }

// x < 0 becomes the errno, anything else the value.
template <class T>
Result<T> check(T x) {
  if (x < 0) return Err(last_errno());
  return x;
}

// The same for calls whose value says nothing.
template <class T>
Result<void> ok(T x) {
  if (x < 0) return Err(last_errno());
  return {};
}

// A sealed (SHRINK, GROW, SEAL) memfd of `size` bytes: nobody can truncate it under a mapping of ours.
Result<Fd> make_sealed_memfd(const char* name, u64 size);

// Shared memory mapped from a descriptor, for which nothing is set aside (huge pages would be); unmapped at the end of its life.
class Mapping {
 public:
  Mapping() = default;
  static Result<Mapping> map(int fd, u64 offset, u64 size, Access access);
  static Result<Mapping> anonymous(u64 size);
  Mapping(Mapping&& o) noexcept;
  Mapping& operator=(Mapping&& o) noexcept;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();
  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }

 private:
  std::span<std::byte> bytes_;
};

// Writes all of it. Errors: those of write.
Result<void> write_all(int fd, std::string_view bytes);

// Reads a whole small file (procfs, sysfs). Errors: those of open and read.
Result<std::string> read_file(const std::string& path);
Result<std::string> read_link(const std::string& path);

}  // namespace iommufd::sys

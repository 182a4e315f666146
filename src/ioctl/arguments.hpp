// SPDX-License-Identifier: BSD-3-Clause
// The argument of an iommufd command on its way in and out: the extensible-struct rule (spec iommufd-core 1.3 to 1.5).
#pragma once

#include <cstring>
#include <span>

#include "base/result.hpp"
#include "base/types.hpp"
#include "ioctl/file.hpp"

namespace iommufd::ioctl {

// What a handler gets: the struct, copied in once, and the way to answer.
template <class T>
class Arguments {
 public:
  Arguments(Call& call, UserVa at, std::size_t user_size) : call_(call), at_(at), user_size_(user_size) {}

  T cmd{};

  [[nodiscard]] Call& call() const { return call_; }
  [[nodiscard]] UserVa address() const { return at_; }
  // Writes the struct back, as much of it as the caller has. Errors: kFault.
  Result<void> reply() {
    return call_.memory()->write(at_, std::as_bytes(std::span(&cmd, 1)).first(std::min(user_size_, sizeof(T))));
  }
  // Writes only [offset, offset + length) back.
  Result<void> reply_field(std::size_t offset, std::size_t length) {
    return call_.memory()->write(advance(at_, offset), std::as_bytes(std::span(&cmd, 1)).subspan(offset, length));
  }

 private:
  Call& call_;
  const UserVa at_;
  const std::size_t user_size_;
};

// The start of an argument, read in one go: as much of `want` bytes as lies in the page of `at`.
class ArgumentBytes {
 public:
  static constexpr std::size_t kLargest = 72;

  // Reads once. `want` is the size of the largest form of the struct, at most kLargest.
  ArgumentBytes(Call& call, UserVa at, std::size_t want);

  // The first field, `size`. Errors: kFault.
  Result<u32> size();
  // Copies the struct of `known` bytes into `out` by the rule of 1.4, given the `user_size` read before.
  // Errors: kTooBig, kFault. Pre: user_size >= the minimum of the command; out.size() == known.
  Result<void> copy(std::size_t user_size, std::span<std::byte> out);

 private:
  Result<void> need(std::size_t bytes);

  Call& call_;
  const UserVa at_;
  std::size_t have_ = 0;
  std::byte bytes_[kLargest];
};

}  // namespace iommufd::ioctl

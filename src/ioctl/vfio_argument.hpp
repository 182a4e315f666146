// SPDX-License-Identifier: BSD-3-Clause
// VFIO's way with arguments (spec vfio-device 2): the command's minimum is read first, then `argsz` is looked at.
#pragma once

#include <span>

#include "base/explain.hpp"
#include "ioctl/arguments.hpp"

namespace iommufd::ioctl {

// A T whose first `bytes` bytes come from the caller, the rest is zero. Errors: kFault.
template <class T>
Result<T> copy_in(ArgumentBytes& from, std::size_t bytes) {
  T value{};
  IOMMUFD_TRY(from.copy(bytes, std::as_writable_bytes(std::span(&value, 1))));
  return value;
}

// The minimum of T, with argsz checked. Errors: kFault, kInval.
template <class T>
Result<T> copy_in_minimum(ArgumentBytes& from, const char* section) {
  const T value = IOMMUFD_TRY(copy_in<T>(from, T::kMinSize));
  if (value.argsz < T::kMinSize) return reject(Errno::kInval, {"argsz", value.argsz, "is below the minimum", section});
  return value;
}

// Writes the first `bytes` bytes of `value` to the caller. Errors: kFault.
template <class T>
Result<void> copy_out(Call& call, UserVa to, const T& value, std::size_t bytes = sizeof(T)) {
  return call.memory()->write(to, std::as_bytes(std::span(&value, 1)).first(bytes));
}

// The value of an ioctl that answers 0.
inline Result<s64> zero(const Result<void>& done) {
  if (!done) return Err(done.error());
  return 0;
}

}  // namespace iommufd::ioctl

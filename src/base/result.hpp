// SPDX-License-Identifier: BSD-3-Clause
// Errors: Result<T> is a value or an errno of the kernel's ABI. Above base/sys there is no int status and no errno.
//
//   Result<Iova> f() {
//     const u64 n = IOMMUFD_TRY(parse(x));          // returns the error of parse() from f()
//     if (n == 0) return Err(Errno::kInval);
//     ...
// IOMMUFD_TRY hides a return and needs a GNU statement expression; both are worth it (docs/adr/0002).
#pragma once

#include <expected>
#include <utility>

namespace iommufd {

// The numbers are Linux's (asm-generic), so that the edge answers with a cast. Add what is needed, in order.
enum class Errno : int {
  kPerm = 1,
  kNoEnt = 2,
  kSrch = 3,
  kIntr = 4,
  kIo = 5,
  kNxio = 6,
  kBadf = 9,
  kAgain = 11,
  kNoMem = 12,
  kAcces = 13,
  kFault = 14,
  kBusy = 16,
  kExist = 17,
  kNoDev = 19,
  kNotDir = 20,
  kIsDir = 21,
  kInval = 22,
  kNFile = 23,
  kMFile = 24,
  kNoTty = 25,
  kFBig = 27,
  kNoSpc = 28,
  kSPipe = 29,
  kRoFs = 30,
  kRange = 34,
  kDeadlock = 35,
  kNameTooLong = 36,
  kNoSys = 38,
  kLoop = 40,
  kBadE = 52,
  kNoData = 61,
  kOverflow = 75,
  kBadFd = 77,
  kMsgSize = 90,
  kOpNotSupp = 95,
  kAddrInUse = 98,
  kTooBig = 7,  // E2BIG
};

template <class T>
using Result = std::expected<T, Errno>;

using Err = std::unexpected<Errno>;

// "EINVAL" for Errno::kInval; "errno N" for a number without a name here.
const char* errno_name(Errno e);

}  // namespace iommufd

#define IOMMUFD_CONCAT_(a, b) a##b
#define IOMMUFD_CONCAT(a, b) IOMMUFD_CONCAT_(a, b)
#define IOMMUFD_TRY_(name, ...)                            \
  __extension__({                                          \
    auto name = (__VA_ARGS__);                             \
    if (!name) [[unlikely]]                                \
      return ::std::unexpected(::std::move(name).error()); \
    *static_cast<decltype(name)&&>(name);                  \
  })
#define IOMMUFD_TRY(...) IOMMUFD_TRY_(IOMMUFD_CONCAT(iommufd_try_, __COUNTER__), __VA_ARGS__)

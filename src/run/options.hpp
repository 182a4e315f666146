// SPDX-License-Identifier: BSD-3-Clause
// What `iommufd-user run` is asked to do, as far as the transport cares. Which devices exist is the business of the
// Service (service.hpp).
#pragma once

#include <string>
#include <vector>

#include "base/types.hpp"
#include "mem/caller.hpp"
#include "run/path_view.hpp"

namespace iommufd::run {

// --caps: the capabilities that privileged operations see.
struct CapsPolicy {
  enum class Kind : u8 {
    kAll,   // every capability (default: CI has no root)
    kNone,  // none
    kList,  // those whose bit is set in `mask`
    kReal,  // what /proc/TID/status says at the moment of the question
  };
  Kind kind = Kind::kAll;
  u64 mask = 0;  // bit n is capability n
};

// --memlock: the limit that our own accounting of pinned pages enforces.
struct MemlockPolicy {
  enum class Kind : u8 { kReal, kSize, kUnlimited };
  Kind kind = Kind::kReal;
  u64 bytes = 0;  // kSize
};

// --pin: what a mapping holds. kAuto holds shared files and follows the client's virtual address elsewhere; kReal asks for
// the pages themselves (mem/pin_ring.hpp) and falls back to kAuto, with one message, where they cannot be had. kFrames, with real
// devices: all pages are held, and have the addresses that they really have; a mapping fails where that cannot be.
enum class PinPolicy : u8 { kAuto, kReal, kFrames };

// --hugetlb: memory in huge pages (MAP_HUGETLB, MFD_HUGETLB). kReal is the machine's own business; kEmulate makes it of ordinary
// memory (huge_pool.hpp), of which there are so many bytes.
struct HugetlbPolicy {
  enum class Kind : u8 { kReal, kEmulate };
  Kind kind = Kind::kReal;
  u64 bytes = u64{1} << 30;
};

// --explain: one line for each failing ioctl that says which rule failed.
enum class Explain : u8 { kNo, kYes };

// Which host interfaces to use. kFloor acts as on Linux 6.1, the oldest supported, for tests on newer kernels.
enum class HostFeatures : u8 { kAll, kFloor };

struct Options {
  std::vector<std::string> argv;  // PROGRAM and its arguments; never empty
  CapsPolicy caps;
  MemlockPolicy memlock;
  PinPolicy pin = PinPolicy::kAuto;
  u64 frames_end = ~u64{0};  // kFrames: the first address that a device does not reach
  HugetlbPolicy hugetlb;
  PathsPolicy paths = PathsPolicy::kAuto;
  Explain explain = Explain::kNo;
  HostFeatures host = HostFeatures::kAll;
};

// Exit codes of our own; everything else is the program's. The shell's and env(1)'s numbers.
inline constexpr int kExitRunFailed = 125;      // run itself failed: bad option, nested run, a missing kernel feature
inline constexpr int kExitCannotExecute = 126;  // PROGRAM was found and cannot be executed
inline constexpr int kExitNotFound = 127;       // PROGRAM was not found

}  // namespace iommufd::run

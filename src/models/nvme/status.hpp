// SPDX-License-Identifier: BSD-3-Clause
// Status of a command (NVMe 1.4, 4.6.1; spec nvme 10): SCT in bits 10:8, SC in 7:0, DNR ("do not retry") in bit 14. It is
// what the completion entry holds above its phase bit.
#pragma once

#include <expected>

#include "base/types.hpp"

namespace iommufd::models::nvme {

inline constexpr u16 kDoNotRetry = 0x4000;

enum class Status : u16 {
  kSuccess = 0,
  kInvalidOpcode = 0x0001 | kDoNotRetry,
  kInvalidField = 0x0002 | kDoNotRetry,
  kDataTransferError = 0x0004,
  kInternalError = 0x0006,
  kAborted = 0x0007,
  kAbortedSqDeletion = 0x0008,
  kInvalidNamespace = 0x000b | kDoNotRetry,
  kCommandSequence = 0x000c | kDoNotRetry,
  kSglSegment = 0x000d | kDoNotRetry,
  kSglCount = 0x000e | kDoNotRetry,
  kSglLength = 0x000f | kDoNotRetry,
  kSglType = 0x0011 | kDoNotRetry,
  kPrpOffset = 0x0013 | kDoNotRetry,
  kWriteProtected = 0x0020 | kDoNotRetry,
  kLbaRange = 0x0080 | kDoNotRetry,
  kInvalidCq = 0x0100 | kDoNotRetry,
  kInvalidQueueId = 0x0101 | kDoNotRetry,
  kInvalidQueueSize = 0x0102 | kDoNotRetry,
  kAerLimit = 0x0105,
  kInvalidVector = 0x0108 | kDoNotRetry,
  kInvalidLogPage = 0x0109 | kDoNotRetry,
  kInvalidQueueDeletion = 0x010c | kDoNotRetry,
  kNotSaveable = 0x010d | kDoNotRetry,
  kNotChangeable = 0x010e | kDoNotRetry,
  kNotNamespaceSpecific = 0x010f | kDoNotRetry,
  kWriteFault = 0x0280,
  kReadError = 0x0281,
  kCompareFailure = 0x0285,
};

// What a step of a command gives: nothing, or why the command ends here.
using Step = std::expected<void, Status>;
using Bad = std::unexpected<Status>;

}  // namespace iommufd::models::nvme

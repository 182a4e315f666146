// SPDX-License-Identifier: BSD-3-Clause
// Who makes a call: the client thread, as far as the rules of iommufd ask about it. A Caller lives as long as one call
// and is used by one thread; Process and AddressSpace outlive it.
#pragma once

#include "base/fd.hpp"
#include "base/ref.hpp"
#include "base/result.hpp"
#include "mem/account.hpp"
#include "mem/address_space.hpp"

namespace iommufd::mem {

// Linux capability numbers (include/uapi/linux/capability.h).
enum class Capability : u8 { kIpcLock = 14, kSysRawio = 17, kSysAdmin = 21, kSysResource = 24 };

class Caller {
 public:
  virtual ~Caller() = default;
  // The memory that pointers of this call point into.
  virtual Ref<AddressSpace> memory() = 0;
  // The process (thread group) that is charged for what this call pins.
  virtual Ref<Process> process() = 0;
  // Does the calling thread have the capability in the initial user namespace, by the policy of --caps?
  virtual bool capable(Capability cap) = 0;
  // A duplicate of the caller's descriptor. Errors: kBadf.
  virtual Result<Fd> descriptor(int fd) = 0;
};

}  // namespace iommufd::mem

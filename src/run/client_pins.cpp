// SPDX-License-Identifier: BSD-3-Clause
#include "run/client_pins.hpp"

#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <bit>
#include <cstddef>

namespace iommufd::run {

Result<u32> pin_in_client(mem::PinRing& ring, CallScope& call, u64 start, u64 length) {
  return ring.pin(length, [&](int descriptor, u32 slot) -> Result<void> {
    StoppedCaller& caller = *IOMMUFD_TRY(call.hold(descriptor));
    const int theirs = IOMMUFD_TRY(caller.descriptor());
    struct Argument {
      io_uring_rsrc_update2 update;
      iovec buffer;
    } argument{};
    const u64 at = caller.scratch(sizeof(argument));
    argument.update.offset = slot;
    argument.update.data = at + offsetof(Argument, buffer);
    argument.update.nr = 1;
    argument.buffer = {std::bit_cast<void*>(start), length};
    IOMMUFD_TRY(call.put(at, argument));
    (void)IOMMUFD_TRY(caller.call(SYS_io_uring_register, {static_cast<u64>(theirs), IORING_REGISTER_BUFFERS_UPDATE, at,
                                                          sizeof(argument.update), 0, 0}));
    return {};
  });
}

}  // namespace iommufd::run

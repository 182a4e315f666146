// SPDX-License-Identifier: BSD-3-Clause
#include "run/remote_copy.hpp"

#include <sys/uio.h>

#include <bit>

#include "base/sys.hpp"

namespace iommufd::run {
namespace {

using Move = ssize_t (*)(pid_t, const iovec*, unsigned long, const iovec*, unsigned long, unsigned long);

// The kernel may stop early for its own reasons; only a call that moves nothing says that the next page is closed.
Result<std::size_t> copy(Move move, pid_t pid, u64 at, std::byte* buf, std::size_t size) {
  std::size_t done = 0;
  while (done < size) {
    const iovec local{buf + done, size - done};
    const iovec remote{std::bit_cast<void*>(at + done), size - done};
    const ssize_t n = move(pid, &local, 1, &remote, 1, 0);
    if (n > 0) {
      done += static_cast<std::size_t>(n);
      continue;
    }
    if (n == 0) break;
    const Errno e = sys::last_errno();
    if (e == Errno::kIntr) continue;
    if (e == Errno::kFault || e == Errno::kInval || done != 0) break;
    return Err(e);
  }
  return done;
}

}  // namespace

Result<std::size_t> remote_read(pid_t pid, u64 at, std::span<std::byte> buf) {
  return copy(::process_vm_readv, pid, at, buf.data(), buf.size());
}

Result<std::size_t> remote_write(pid_t pid, u64 at, std::span<const std::byte> buf) {
  return copy(::process_vm_writev, pid, at, const_cast<std::byte*>(buf.data()), buf.size());
}

}  // namespace iommufd::run

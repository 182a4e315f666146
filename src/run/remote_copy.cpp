// SPDX-License-Identifier: BSD-3-Clause
#include "run/remote_copy.hpp"

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <bit>

#include "base/sys.hpp"

namespace iommufd::run {
namespace {

constexpr std::size_t kPiecesPerCall = 64;

using Move = ssize_t (*)(pid_t, const iovec*, unsigned long, const iovec*, unsigned long, unsigned long);

iovec our_side(std::span<std::byte> bytes) { return {bytes.data(), bytes.size()}; }
// The kernel only reads it.
iovec our_side(std::span<const std::byte> bytes) { return {const_cast<std::byte*>(bytes.data()), bytes.size()}; }

// What is left of pieces, in the form of the system calls.
template <class Byte>
class Rest {
 public:
  explicit Rest(std::span<const mem::CopyPiece<Byte>> pieces) : pieces_(pieces) {}
  [[nodiscard]] bool empty() const { return pieces_.empty(); }
  ssize_t move(Move call, pid_t pid) const {
    std::array<iovec, kPiecesPerCall> local;
    std::array<iovec, kPiecesPerCall> remote;
    const std::size_t count = std::min(pieces_.size(), kPiecesPerCall);
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t skip = i == 0 ? moved_of_first_ : 0;
      local[i] = our_side(pieces_[i].bytes.subspan(skip));
      remote[i] = {std::bit_cast<void*>(pieces_[i].at.raw() + skip), local[i].iov_len};
    }
    return call(pid, local.data(), count, remote.data(), count, 0);
  }
  void advance(std::size_t bytes) {
    moved_of_first_ += bytes;
    while (!pieces_.empty() && moved_of_first_ >= pieces_.front().bytes.size()) {
      moved_of_first_ -= pieces_.front().bytes.size();
      pieces_ = pieces_.subspan(1);
    }
  }

 private:
  std::span<const mem::CopyPiece<Byte>> pieces_;
  std::size_t moved_of_first_ = 0;
};

// The kernel may stop early for its own reasons; only a call that moves nothing says that the next page is closed.
template <class Byte>
Result<std::size_t> copy(Move call, pid_t pid, std::span<const mem::CopyPiece<Byte>> pieces) {
  std::size_t done = 0;
  for (Rest<Byte> rest(pieces); !rest.empty();) {
    const ssize_t n = rest.move(call, pid);
    if (n > 0) {
      done += static_cast<std::size_t>(n);
      rest.advance(static_cast<std::size_t>(n));
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

Result<std::size_t> remote_read(pid_t pid, std::span<const mem::ReadPiece> pieces) {
  return copy(::process_vm_readv, pid, pieces);
}

Result<std::size_t> remote_write(pid_t pid, std::span<const mem::WritePiece> pieces) {
  return copy(::process_vm_writev, pid, pieces);
}

Result<std::size_t> remote_read(pid_t pid, u64 at, std::span<std::byte> buf) {
  const mem::ReadPiece piece{UserVa{at}, buf};
  return remote_read(pid, {&piece, 1});
}

Result<std::size_t> remote_write(pid_t pid, u64 at, std::span<const std::byte> buf) {
  const mem::WritePiece piece{UserVa{at}, buf};
  return remote_write(pid, {&piece, 1});
}

}  // namespace iommufd::run

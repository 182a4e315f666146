// SPDX-License-Identifier: BSD-3-Clause
#include "run/file_calls.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>

#include "base/explain.hpp"
#include "run/attributes.hpp"
#include "run/explain.hpp"
#include "run/huge_calls.hpp"

namespace iommufd::run {
namespace {

constexpr u64 kMaxTransfer = 0x7fff'f000;  // MAX_RW_COUNT
constexpr u64 kMaxSegments = 1024;         // UIO_MAXIOV
constexpr u64 kRwfHighPriority = 1;        // RWF_HIPRI

enum class Direction : u8 { kRead, kWrite };

struct Transfer {
  Direction direction = Direction::kRead;
  bool positioned = false;  // pread and friends: `offset` is given, and the file position stays
  u64 offset = 0;
};

Result<u64> transfer_segment(ClientCall& call, OpenFile& file, Direction direction, u64 offset, u64 buf, u64 count) {
  return direction == Direction::kRead ? file.file().read(call, offset, UserVa{buf}, count)
                                       : file.file().write(call, offset, UserVa{buf}, count);
}

Result<void> check_transfer(const OpenFile& file, const Transfer& t) {
  const bool allowed = t.direction == Direction::kRead ? file.mode().readable() : file.mode().writable();
  if (!allowed) return Err(Errno::kBadf);
  return {};
}

Answer transfer(ClientCall& call, OpenFile& file, const Transfer& t, std::span<const iovec> segments) {
  u64 offset = t.positioned ? t.offset : file.position.load(std::memory_order_relaxed);
  u64 done = 0;
  for (const iovec& s : segments) {
    const u64 count = std::min<u64>(s.iov_len, kMaxTransfer - done);
    const Result<u64> n = transfer_segment(call, file, t.direction, offset, std::bit_cast<u64>(s.iov_base), count);
    if (!n && done == 0) return Answer::fail(n.error());
    if (!n) break;
    done += *n;
    offset += *n;
    if (*n < s.iov_len) break;
  }
  if (!t.positioned) file.position.store(offset, std::memory_order_relaxed);
  return Answer::of(static_cast<s64>(done));
}

Answer transfer_buffer(ClientCall& call, OpenFile& file, const Transfer& t) {
  const Notification& n = call.scope().notification();
  if (const Result<void> ok = check_transfer(file, t); !ok) return Answer::fail(ok.error());
  if (static_cast<s64>(n.arg(2)) < 0) return Answer::fail(Errno::kInval);
  const iovec segment{std::bit_cast<void*>(n.arg(1)), n.arg(2)};
  return transfer(call, file, t, std::span(&segment, 1));
}

Answer transfer_vector(ClientCall& call, OpenFile& file, const Transfer& t, u64 rwf_flags) {
  const Notification& n = call.scope().notification();
  if (const Result<void> ok = check_transfer(file, t); !ok) return Answer::fail(ok.error());
  const u64 count = n.arg(2);
  if (count > kMaxSegments) return Answer::fail(Errno::kInval);
  std::array<iovec, kMaxSegments> segments;
  const std::span<iovec> used = std::span(segments).first(count);
  const Result<std::size_t> got = call.scope().read(n.arg(1), std::as_writable_bytes(used));
  if (!got || *got != used.size_bytes()) return Answer::fail(Errno::kFault);
  if (std::ranges::any_of(used, [](const iovec& s) { return static_cast<ssize_t>(s.iov_len) < 0; }))
    return Answer::fail(Errno::kInval);
  if ((rwf_flags & ~kRwfHighPriority) != 0) return Answer::fail(Errno::kOpNotSupp);
  return transfer(call, file, t, used);
}

Answer seek(OpenFile& file, u64 offset, int whence) {
  const Result<u64> to =
      file.file().seek({static_cast<s64>(offset), whence, file.position.load(std::memory_order_relaxed),
                        static_cast<u64>(file.attributes().st_size)});
  if (to) file.position.store(*to, std::memory_order_relaxed);
  return Answer::from(to);
}

// The caller is made to map another file in place of the one that it named. Errors: those of mmap; of injection (kPerm: a debugger
// holds it).
Result<u64> map_other(CallScope& scope, const ioctl::File::OtherFile& other) {
  const Notification& n = scope.notification();
  StoppedCaller& caller = *IOMMUFD_TRY(scope.hold(other.descriptor));
  const int fd = IOMMUFD_TRY(caller.descriptor());
  return caller.call(SYS_mmap, {n.arg(0), n.arg(1), n.arg(2), n.arg(3), static_cast<u64>(fd), other.offset});
}

// Our rules first; the kernel then maps the memfd at that offset. What it checks itself (address, limits) stays its own.
Answer map(ClientCall& call, OpenFile& file) {
  const Notification& n = call.scope().notification();
  const ioctl::MmapRequest request{n.arg(5), n.arg(1), n.int_arg(2), n.int_arg(3)};
  if (request.length == 0 || (request.offset & kPageMask) != 0) return Answer::fail(Errno::kInval);
  const bool shared = (request.flags & MAP_TYPE) != MAP_PRIVATE;
  if (shared && (request.prot & PROT_WRITE) != 0 && !file.mode().writable()) return Answer::fail(Errno::kAcces);
  if (!file.mode().readable()) return Answer::fail(Errno::kAcces);
  const Result<void> allowed = file.file().mmap(call, request);
  if (!allowed) return Answer::fail(allowed.error());
  const ioctl::File::OtherFile other = file.file().mapped_file(request.offset);
  return other.descriptor < 0 ? Answer::go_on() : Answer::from(map_other(*CallScope::current(), other));
}

bool is_device(const OpenFile& file) { return file.node() == nullptr || file.node()->kind() == NodeKind::kCharDevice; }

Answer truncate(const OpenFile& file, s64 length) {
  if (length < 0 || is_device(file) || !file.mode().writable()) return Answer::fail(Errno::kInval);
  return Answer::of(0);  // a sysfs attribute has no length to change, and says yes
}

Answer allocate(const OpenFile& file, u64 mode, s64 offset, s64 length) {
  constexpr u64 kKnown = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_ZERO_RANGE |
                         FALLOC_FL_INSERT_RANGE | FALLOC_FL_UNSHARE_RANGE;
  if (offset < 0 || length <= 0) return Answer::fail(Errno::kInval);
  if ((mode & ~kKnown) != 0) return Answer::fail(Errno::kOpNotSupp);
  if (!file.mode().writable()) return Answer::fail(Errno::kBadf);
  return Answer::fail(is_device(file) ? Errno::kNoDev : Errno::kOpNotSupp);
}

Answer control(const Runtime& runtime, ClientCall& call, OpenFile& file) {
  const Notification& n = call.scope().notification();
  const u32 command = static_cast<u32>(n.arg(1));
  const auto execute = [&] {
    const FaultPlans::Armed armed(runtime.service.faults(), call.scope().tid());
    return file.file().ioctl(call, command, n.arg(2));
  };
  if (runtime.options.explain == Explain::kNo) return Answer::from(execute());
  clear_reason();
  const Result<s64> r = execute();
  if (!r) explain_failure(call, file, command, r.error());
  return Answer::from(r);
}

Answer dispatch(const Runtime& runtime, ClientCall& call, OpenFile& file) {
  const Notification& n = call.scope().notification();
  const s64 position = static_cast<s64>(n.arg(3));
  switch (n.data.nr) {
    case SYS_ioctl: return control(runtime, call, file);
    case SYS_mmap: return map(call, file);
    case SYS_read: return transfer_buffer(call, file, {Direction::kRead});
    case SYS_write: return transfer_buffer(call, file, {Direction::kWrite});
    case SYS_pread64:
    case SYS_pwrite64:
      if (position < 0) return Answer::fail(Errno::kInval);
      return transfer_buffer(call, file,
                             {n.data.nr == SYS_pread64 ? Direction::kRead : Direction::kWrite, true, n.arg(3)});
    case SYS_readv: return transfer_vector(call, file, {Direction::kRead}, 0);
    case SYS_writev: return transfer_vector(call, file, {Direction::kWrite}, 0);
    case SYS_preadv:
    case SYS_pwritev:
      if (position < 0) return Answer::fail(Errno::kInval);
      return transfer_vector(call, file,
                             {n.data.nr == SYS_preadv ? Direction::kRead : Direction::kWrite, true, n.arg(3)}, 0);
    case SYS_preadv2:
    case SYS_pwritev2:  // -1 is the file position
      if (position < -1) return Answer::fail(Errno::kInval);
      return transfer_vector(
          call, file, {n.data.nr == SYS_preadv2 ? Direction::kRead : Direction::kWrite, position != -1, n.arg(3)},
          n.arg(5));
    case SYS_lseek: return seek(file, n.arg(1), n.int_arg(2));
    case SYS_ftruncate: return truncate(file, static_cast<s64>(n.arg(1)));
    case SYS_fallocate:
      return allocate(file, n.arg(1) & ~u32{0}, static_cast<s64>(n.arg(2)), static_cast<s64>(n.arg(3)));
    case SYS_getdents:
    case SYS_getdents64: return Answer::fail(Errno::kNotDir);
    default: return Answer::go_on();
  }
}

// The OpenFile behind `fd`, or how the call ends instead: whatever is not ours is the kernel's to answer.
template <class F>
Answer with_file(const Runtime& runtime, CallScope& scope, int fd, F&& f) {
  if (runtime.files.empty()) return Answer::go_on();
  Result<ClientCall> call = ClientCall::make(runtime, scope);
  if (!call) return Answer::go_on();
  const Result<Identified> found = call->identify(fd);
  if (!found || !found->ours) return Answer::go_on();
  return f(*call, *found->ours);
}

}  // namespace

Answer handle_file_call(const Runtime& runtime, CallScope& scope) {
  const int fd = scope.notification().int_arg(scope.notification().data.nr == SYS_mmap ? 4 : 0);
  return with_file(runtime, scope, fd, [&](ClientCall& call, OpenFile& file) { return dispatch(runtime, call, file); });
}

namespace {

template <class Put>
Answer stat_file(const Runtime& runtime, CallScope& scope, int fd, Put&& put) {
  if (runtime.huge != nullptr) {
    if (const std::optional<struct stat> huge = stat_huge_file(runtime, scope, fd)) return Answer::from(put(*huge));
  }
  return with_file(runtime, scope, fd,
                   [&](ClientCall&, OpenFile& file) { return Answer::from(put(file.attributes())); });
}

}  // namespace

Answer handle_fstat(const Runtime& runtime, CallScope& scope, int fd, u64 stat_at) {
  return stat_file(runtime, scope, fd, [&](const struct stat& st) { return scope.put(stat_at, st); });
}

Answer handle_fstatx(const Runtime& runtime, CallScope& scope, int fd, u64 statx_at) {
  return stat_file(runtime, scope, fd, [&](const struct stat& st) { return scope.put(statx_at, statx_of(st)); });
}

}  // namespace iommufd::run
